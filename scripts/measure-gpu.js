#!/usr/bin/env node
'use strict'
// npm run measure:gpu -- [--out DIR] [--seconds N]: everything to measure on this machine's GPU, in one call, with what is built already: some
// tests, memcheck around a small bench, the targets beside cuDNN by PyTorch, and the ops. No step stops another; each has its own time.
//   --out DIR            logs, and bench/results/ with what was saved; build/measure-gpu by default
//   --seconds N          for all of it, 480 by default; a step that takes longer than its share is ended
//   --scale N            tiny shapes, to try the steps where computing is slow: nothing is saved
//   --sanitizer PROGRAM  in the place of compute-sanitizer
// Ends with 0 when every step ended well, 1 when one did not, 2 where there is no GPU. A target that is missed is no failure.
const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { clearTimeout, setTimeout } = require('node:timers')
const { parseArgs } = require('node:util')

const root = path.join(__dirname, '..')
const main = path.join(root, 'dist', 'cli', 'main.js')
const suites = ['test/ops/flash-attention.test', 'test/ops/paged-attention.test', 'test/ops/mla-decode.test', 'test/cuda/decode']
const smallSuites = ['test/tensor/tensor.test']
const facts = 'name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu'
/** Of a step's time for the figures themselves: numbers have to be made, results checked. */
const measuring = 0.3
const killSeconds = 5
const failed = 1
const noGpu = 2

/** Every step: `share` of the time, and either a command or the reason why there is none. */
function steps({ out, scale, seconds, sanitizer }) {
  const trial = scale > 1
  const cli = (...args) => [process.execPath, main, ...args, '--device', 'cuda']
  const kept = trial ? [] : ['--save']
  const budget = (share) => ['--seconds', String(Math.max(1, Math.floor(seconds * share * measuring)))]
  const small = [
    'bench', 'prefill', 'decode', 'paged', 'mla-decode', '--lengths', trial ? '16' : '256', '--dtype', 'bfloat16', '--rounds', '1', '--seconds', '1',
    '--heads', '8', '--kv-heads', '2', '--peak-matmul', '64', '--peak-copy', '256KiB', ...(trial ? ['--preset', 'study', '--head-dim', '32'] : []),
  ]
  const torch = runs('python3', [path.join(root, 'bench', 'peers', 'torch_peer.py'), '--version'])
  const jest = path.join(root, 'node_modules', 'jest', 'bin', 'jest.js')
  const tested = trial ? smallSuites : suites
  return [
    { name: 'tests', share: 0.2, command: [process.execPath, jest, '-i', '--rootDir', root, ...tested], env: { ATTN_TEST_DEVICES: 'cuda:0' }, cwd: root },
    runs(sanitizer, ['--version'])
      ? { name: 'memcheck', share: 0.15, command: [sanitizer, '--tool', 'memcheck', '--error-exitcode', '9', ...cli(...small)] }
      : { name: 'memcheck', absent: `there is no ${sanitizer}` },
    {
      name: torch ? 'targets beside cuDNN' : 'targets, without PyTorch', share: 0.45,
      command: cli('targets', ...(torch ? ['--peer', 'torch'] : []), ...budget(0.45), ...(trial ? ['--scale', String(scale), '--rounds', '1'] : []), ...kept),
    },
    trial
      ? { name: 'bench', share: 0.2, command: cli(...small) }
      : { name: 'bench', share: 0.2, command: cli('bench', '--dtype', 'bfloat16', ...budget(0.2), ...kept) },
  ].map((step) => ({ cwd: out, ...step }))
}

function runs(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

/** Runs a step's command with its output in a file; whatever it started ends with it. */
function run({ command: [program, ...args], env, cwd }, seconds, log) {
  return new Promise((resolve) => {
    const output = fs.openSync(log, 'w')
    const began = Date.now()
    // The head of a group of processes, so that none of them is left.
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', output, output], detached: true })
    let late = false
    const end = (signal) => {
      try {
        process.kill(-child.pid, signal)
      } catch (error) {
        if (error.code !== 'ESRCH') throw error
      }
    }
    const timers = [
      setTimeout(() => { late = true; end('SIGTERM') }, seconds * 1000),
      setTimeout(() => end('SIGKILL'), (seconds + killSeconds) * 1000),
    ]
    const done = (text) => {
      timers.forEach(clearTimeout)
      if (late) end('SIGKILL') // what its head left behind
      fs.closeSync(output)
      resolve({ ok: text === 'ok', text, seconds: (Date.now() - began) / 1000 })
    }
    child.on('error', (error) => done(error.message))
    child.on('exit', (status, signal) => done(late ? `took longer than ${Math.round(seconds)} s` : status === 0 ? 'ok' : signal ?? `status ${status}`))
  })
}

async function measure(options) {
  const { out, scale, seconds } = options
  fs.mkdirSync(out, { recursive: true })
  const rows = []
  const clocks = (when) => {
    const { status, stdout } = spawnSync('nvidia-smi', [`--query-gpu=${facts}`, '--format=csv'], { encoding: 'utf8' })
    if (status === 0) fs.writeFileSync(path.join(out, `gpu-${when}.csv`), stdout)
  }
  clocks('before')
  for (const step of steps(options)) {
    if (step.absent) {
      rows.push([step.name, `not run: ${step.absent}`, '', ''])
      continue
    }
    process.stderr.write(`${step.name}\n`)
    const log = path.join(out, `${step.name.split(/[ ,]/)[0]}.log`)
    const { ok, text, seconds: took } = await run(step, seconds * step.share, log)
    if (!ok) process.exitCode = failed
    rows.push([step.name, text, `${took.toFixed(1)} s`, path.relative(process.cwd(), log)])
  }
  clocks('after')
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd())
  console.log(scale > 1 ? `A trial at lengths over ${scale}: nothing was saved, nothing here is a result.` : `Results: ${path.join(out, 'bench', 'results')}`)
}

/** Numbers that the options give, or an error that names the option. */
function optionsOf(args) {
  const text = { type: 'string' }
  const { values } = parseArgs({ args, options: { out: text, seconds: text, scale: text, sanitizer: text } })
  const number = (name, fallback, least) => {
    const value = values[name] === undefined ? fallback : Number(values[name])
    if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name}: expected an integer of at least ${least}, received '${values[name]}'`)
    return value
  }
  return {
    out: path.resolve(values.out ?? path.join(root, 'build', 'measure-gpu')), seconds: number('seconds', 480, 10), scale: number('scale', 1, 1),
    sanitizer: values.sanitizer ?? 'compute-sanitizer',
  }
}

async function start() {
  const options = optionsOf(process.argv.slice(2))
  if (!fs.existsSync(main)) throw new Error('not built: ATTN_CUDA=ON npm run build')
  const reason = require(path.join(root, 'dist', 'index.js')).devices.unavailableReason('cuda')
  if (reason) {
    console.error(`measure:gpu: no GPU to measure: ${reason}`)
    process.exitCode = noGpu
    return
  }
  await measure(options)
}

start().catch((error) => {
  console.error(`measure:gpu: ${error.message}`)
  process.exitCode = failed
})
