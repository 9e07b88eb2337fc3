'use strict'
const fs = require('node:fs')

/**
 * What a run on the virtual GPU launched, from its report (VGPU_REPORT): one line of text, and what is wrong with it. Findings in the package's own
 * kernels are wrong, and so are kernels of the build that were never launched. Faults that a test asked for by VGPU_FAULT are none, and tests that
 * break kernels on purpose write reports of their own.
 */
function accountOf(reportFile, kernelList) {
  const kernels = new Set(fs.readFileSync(kernelList, 'utf8').match(/^[a-z]\w*/gm))
  const launches = new Map([...kernels].map((name) => [name, 0]))
  const wrong = []
  for (const line of fs.existsSync(reportFile) ? fs.readFileSync(reportFile, 'utf8').split('\n') : []) {
    if (line === '') continue
    const { kernel, finding, text } = JSON.parse(line)
    if (!kernels.has(kernel)) continue
    launches.set(kernel, launches.get(kernel) + 1)
    if (finding !== undefined && !text.endsWith('as VGPU_FAULT asks')) wrong.push(`${kernel}: ${finding}\n${text}`)
  }
  const total = [...launches.values()].reduce((sum, count) => sum + count, 0)
  const idle = [...launches].flatMap(([name, count]) => (count === 0 ? [name] : []))
  if (idle.length > 0) wrong.push(`never launched: ${idle.join(', ')}`)
  const findings = wrong.length - (idle.length > 0 ? 1 : 0)
  return { text: `virtual GPU: ${total} launches of ${kernels.size - idle.length} of ${kernels.size} kernels, ${findings} findings`, wrong }
}

module.exports = { accountOf }
