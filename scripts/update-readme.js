#!/usr/bin/env node
'use strict'
// npm run readme           writes the generated parts of README.md: the support table and the example; and the table of docs/benchmarks.md
// ... update-readme.js --check   says whether they are current; ends with 1 where they are not
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const file = path.join(root, 'README.md')

const before = fs.readFileSync(file, 'utf8')
const after = [
  ['kernels', kernelTable()],
  ['example', `\`\`\`ts\n${fs.readFileSync(path.join(root, 'examples', '01-first-attention.mts'), 'utf8')}\`\`\``],
].reduce(replacePart, before)

if (process.argv.includes('--check')) {
  if (after !== before) {
    console.error('README.md is not current: npm run readme')
    process.exitCode = 1
  }
} else if (after !== before) {
  fs.writeFileSync(file, after)
}

require('./update-benchmarks.js')

/** Puts `text` between <!-- name --> and <!-- /name -->. */
function replacePart(readme, [name, text]) {
  const pattern = new RegExp(`(<!-- ${name}:[^>]*-->\\n)[^]*?(<!-- /${name} -->)`)
  if (!pattern.test(readme)) throw new Error(`README.md has no place for ${name}`)
  return readme.replace(pattern, (_, open, close) => `${open}${text}\n${close}`)
}

/** One row per kernel, with the instruction sets that it is compiled for: the registry's own list, best first. */
function kernelTable() {
  const { kernels } = require('../dist/index.js')
  const rows = new Map()
  for (const { name, op, device, arch, dtypes, headDims } of kernels()) {
    const variant = name.endsWith(`_${arch}`) ? name.slice(0, -arch.length - 1) : name
    const key = JSON.stringify([op, variant, device, dtypes, headDims])
    const row = rows.get(key) ?? { op, variant, device, archs: [], dtypes, headDims }
    row.archs.push(arch)
    rows.set(key, row)
  }
  const lines = [...rows.values()].map(({ op, variant, device, archs, dtypes, headDims }) =>
    `| ${op} | ${variant} | ${device}: ${archs.join(', ')} | ${dtypes.join(', ')} | ${headDims} |`)
  return ['| op | kernel | compiled for | element types | head dims |', '|---|---|---|---|---|', ...lines].join('\n')
}
