#!/usr/bin/env node
'use strict'
// npm run bench:callgrind: runs scripts/decode-loop.js under valgrind's callgrind and looks at everything that the steps of a
// steady decode loop execute: no allocation, and nothing of Node or V8. Ends with 1 where there is any, or where it saw no steps.
// A second run looks at the enqueueing of the same steps, which does allocate: were nothing found there, nothing could be found.
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const steps = 20
const opsPerStep = 12
const allocates = /^(_?_?(libc_)?(malloc|calloc|realloc|memalign|aligned_alloc|posix_memalign)|_int_malloc|operator new(\[\])?\(.*)$/
const isJavaScript = /^(v8|node|napi|Napi|uv)(::|_)|^napi_|^Builtins_/
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'callgrind-'))

/** The names of all functions that ran while one that matches `inside` was on the stack, and how often that was called. */
function executed(inside) {
  const file = path.join(folder, 'out')
  const done = spawnSync('valgrind', [
    '--tool=callgrind', `--callgrind-out-file=${file}`, `--toggle-collect=${inside}`, '--zero-before=*CpuBackend::set_num_threads*',
    process.execPath, '--jitless', '--single-threaded', path.join(__dirname, 'decode-loop.js'), String(steps),
  ], { encoding: 'utf8' })
  if (done.error) throw new Error(`valgrind is needed: ${done.error.message}`)
  if (done.status !== 0) throw new Error(`valgrind ended with ${done.status}:\n${done.stderr}`)
  return read(fs.readFileSync(file, 'utf8'))
}

/** callgrind's format: a name is given once, behind its number; cost lines follow their function, calls their callee. */
function read(text) {
  const names = new Map()
  const calls = new Map()
  const costs = new Map()
  let [current, callee] = ['', '']
  const named = (line) => {
    const [, number, name] = /=\((\d+)\)(?: (.*))?$/.exec(line)
    if (name !== undefined) names.set(number, name)
    return names.get(number)
  }
  let ofCall = false
  for (const line of text.split('\n')) {
    if (line.startsWith('fn=')) current = named(line)
    else if (line.startsWith('cfn=')) callee = named(line)
    else if (line.startsWith('calls=')) {
      calls.set(callee, (calls.get(callee) ?? 0) + Number(/^calls=(\d+)/.exec(line)[1]))
      ofCall = true // the next line is what the callee cost
    } else if (/^[+*-]?\d* ?[+*-]?\d* \d+$/.test(line) && !line.includes('=')) {
      if (!ofCall) costs.set(current, (costs.get(current) ?? 0) + Number(line.split(' ').at(-1)))
      ofCall = false
    }
  }
  return { costs, calls }
}

function main() {
  const work = '*QueuedWork*_M_invoke*'
  const { costs, calls } = executed(work)
  const ran = [...costs].filter(([, cost]) => cost > 0).sort((a, b) => b[1] - a[1])
  const invoked = [...calls].filter(([name]) => /QueuedWork.*_M_invoke/.test(name)).reduce((sum, [, count]) => sum + count, 0)
  const total = ran.reduce((sum, [, cost]) => sum + cost, 0)
  console.log(`${invoked} ops of ${steps} decode steps executed ${total.toLocaleString('en-US')} instructions in ${ran.length} functions. Most of them:`)
  for (const [name, cost] of ran.slice(0, 12)) console.log(`  ${String(Math.round((cost / total) * 1000) / 10).padStart(5)}%  ${name.slice(0, 120)}`)
  const found = ran.map(([name]) => name).filter((name) => allocates.test(name) || isJavaScript.test(name))
  const control = [...executed('attn::linear(*').costs].filter(([name, cost]) => cost > 0 && allocates.test(name)).map(([name]) => name)
  const says = [
    [invoked === steps * opsPerStep, `${steps * opsPerStep} ops were seen`, `${invoked} ops were seen, expected ${steps * opsPerStep}`],
    [found.length === 0, 'none of the functions allocates, or is of Node or V8', `allocations or JavaScript: ${found.join(', ')}`],
    [control.length > 0, `control: enqueueing does allocate (${control.join(', ')})`, 'control: the allocations of enqueueing were not seen'],
  ]
  for (const [good, yes, no] of says) console.log(`${good ? 'ok    ' : 'FAILED'} ${good ? yes : no}`)
  if (says.some(([good]) => !good)) process.exitCode = 1
}

try {
  main()
} catch (error) {
  console.error(`error: ${error.message}`)
  process.exitCode = 1
} finally {
  fs.rmSync(folder, { recursive: true, force: true })
}
