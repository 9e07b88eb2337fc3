#!/usr/bin/env node
'use strict'
// Part of npm run readme: writes the table of docs/benchmarks.md from bench/results/*.json.
// ... update-benchmarks.js --check   says whether it is current; ends with 1 where it is not
const fs = require('node:fs')
const path = require('node:path')
const { callRows, caseColumns, caseRow, peakRows, peerColumns, peerRows } = require('../dist/cli/bench/rows.js')
const { sweepColumns, sweepRows, targetColumns, targetRows, unfusedColumns, unfusedRows } = require('../dist/cli/bench/targets/rows.js')

const root = path.join(__dirname, '..')
const file = path.join(root, 'docs', 'benchmarks.md')
const folder = path.join(root, 'bench', 'results')

const before = fs.readFileSync(file, 'utf8')
const pattern = /(<!-- results:[^>]*-->\n)[^]*?(<!-- \/results -->)/
if (!pattern.test(before)) throw new Error('docs/benchmarks.md has no place for the results')
const results = fs.readdirSync(folder).filter((name) => name.endsWith('.json')).sort()
const text = results.map((name) => section(JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')))).join('\n')
const after = before.replace(pattern, (_, open, close) => `${open}${text}${close}`)

if (process.argv.includes('--check')) {
  if (after !== before) {
    console.error('docs/benchmarks.md is not current: npm run readme')
    process.exitCode = 1
  }
} else if (after !== before) {
  fs.writeFileSync(file, after)
}

function section(report) {
  return report.targets ? targetsSection(report) : benchSection(report)
}

function targetsSection(report) {
  const { machine, date, sweep, unfused, package: { version } } = report
  const facts = `Version ${version}, ${date.slice(0, 10)}, node ${machine.node}, ${machine.platform}, load before ${machine.load.toFixed(1)}.`
  const tables = [
    table(['', '1 thread', 'all threads', ''], peakRows(machine)),
    table(targetColumns, targetRows(report)),
    ...(sweep.length === 0 ? [] : [`Beside onnxruntime ${versionOf(sweep)}:\n\n${table(sweepColumns, sweepRows(sweep))}`]),
    ...(unfused ? [`Beside the unfused composition, ${unfused.dtype}, ${unfused.threads} threads:\n\n${table(unfusedColumns, unfusedRows(unfused))}`] : []),
  ]
  return `### Targets: ${machine.name}, ${machine.arch}, ${machine.threads} threads\n\n${facts}\n\n${tables.join('\n')}`
}

function versionOf(sweep) {
  return sweep.map(({ peer }) => peer.version).find(Boolean) ?? ''
}

function benchSection({ machine, settings, cases, calls, date, package: { version } }) {
  const { dtype, batch, preset } = settings
  const where = `node ${machine.node}, ${machine.platform}, load before ${machine.load.toFixed(1)}`
  const facts = `Version ${version}, ${date.slice(0, 10)}, ${where}; ${dtype}, batch ${batch}, shape of ${preset}.`
  const tables = [
    table(['', '1 thread', 'all threads', ''], peakRows(machine)),
    table(caseColumns(cases), cases.map((entry) => caseRow(entry, cases))),
    ...(cases.some((entry) => entry.peer) ? [table(peerColumns, peerRows(cases))] : []),
    table(['from JavaScript', ''], callRows(calls)),
  ]
  return `### ${machine.name}, ${machine.arch}, ${machine.threads} threads\n\n${facts}\n\n${tables.join('\n')}`
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}
