#!/usr/bin/env node
'use strict'
// npm run example -- 03    transpiles examples/03-….mts into build/examples and runs it against dist/.
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const ts = require('typescript')

const root = path.join(__dirname, '..')
const names = fs.readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.mts')).sort()
const wanted = process.argv[2]
const name = names.find((candidate) => wanted !== undefined && candidate.startsWith(wanted))
if (!name) {
  console.error(`usage: npm run example -- <number>; there are:\n  ${names.join('\n  ')}`)
  process.exit(2)
}

// Inside the package's own folder, so that 'node-flash-attention' is this package.
const target = path.join(root, 'build', 'examples', name.replace(/\.mts$/, '.mjs'))
const { outputText } = ts.transpileModule(fs.readFileSync(path.join(root, 'examples', name), 'utf8'), {
  compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
})
fs.mkdirSync(path.dirname(target), { recursive: true })
fs.writeFileSync(target, outputText)
process.exitCode = spawnSync(process.execPath, [target], { stdio: 'inherit' }).status ?? 1
