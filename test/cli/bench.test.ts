import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kernels } from '../../lib'
import type { BenchReport } from '../../lib/cli/bench/report'
import { isRate } from '../../lib/cli/bench/roofline'
import { runCli, withoutAddon } from './run-cli'

const folder = mkdtempSync(join(tmpdir(), 'bench-'))
afterAll(() => { rmSync(folder, { recursive: true }) })

const shape = ['--preset', 'study', '--heads', '4', '--kv-heads', '2', '--head-dim', '32']
const tiny = [...shape, '--lengths', '64,200', '--seconds', '2']
const help = 'Help: npx node-flash-attention bench --help\n'

test('help names ops, options and examples, without an addon', () => {
  const { status, stdout, stderr } = runCli(['bench', '--help'], withoutAddon)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const unwrapped = stdout.replace(/\s+/g, ' ')
  const words = ['"mla-decode"', '--lengths', '--page-size', '--no-causal', '--head-dim-vo', '--save', '--compare', '--fail-below', '--html', 'default: 40']
  for (const word of words) expect(unwrapped).toContain(word)
  expect(stdout).toContain('Examples:\n  npx node-flash-attention bench\n')
})

test.each([
  [['fly'], "error: command-argument value 'fly' is invalid for argument 'op'. Allowed choices are prefill, decode, paged, mla-decode, mla-prefill, mla-step, mla-linear, rope, norm, linear, merge, append, quantize.\n", help],
  [['--rounds', '0'], "error: option '--rounds <count>' argument '0' is invalid. Expected an integer of at least 1.\n", help],
  [['--fail-below', 'most'], "error: option '--fail-below <ratio>' argument 'most' is invalid. Expected a ratio above 0, such as 0.95.\n", help],
  [['--dtype', 'int8'], "error: option '--dtype <name>' argument 'int8' is invalid. Allowed choices are float32, float16, bfloat16.\n", help],
  [['--fail-below', '0.9'], 'error: --fail-below: expected an earlier result in --compare beside it, received none\n', ''],
  [['--heads', '8', '--kv-heads', '3'], 'error: --kv-heads: expected a divisor of the 8 heads, received 3\n', ''],
  [['--head-dim', '7'], 'error: --head-dim: expected an even width, received 7\n', ''],
  [['--page-size', '48'], 'error: --page-size: expected a power of two from 1 to 256, received 48\n', ''],
  [['--device', 'tpu'], "error: --device: expected 'cpu', 'cuda' or 'cuda:<n>', received 'tpu'\n", ''],
])('bench %j ends with status 2 and one short text', (args, message, tail) => {
  expect(runCli(['bench', ...args])).toEqual({ status: 2, stdout: '', stderr: message + tail })
})

test('without an addon it says how to get one', () => {
  const { status, stderr } = runCli(['bench'], withoutAddon)
  expect(status).toBe(1)
  expect(stderr).toMatch(/^error: node-flash-attention: no native addon for /)
})

describe('a tiny run of every op', () => {
  const { status, stdout, stderr } = runCli(['bench', ...tiny, '--seconds', '6', '--json'])
  const report = JSON.parse(stdout) as BenchReport

  test('ends well and says what it does', () => {
    expect(status).toBe(0)
    expect(stderr).toMatch(/^measuring the machine\nprefill 64\n/)
  })

  test('has measured the machine', () => {
    expect(report.machine.load).toBeGreaterThanOrEqual(0)
    const { multiplyAdd, memoryRead, cacheRead, bf16Dot, bf16Tile } = report.machine.peaks
    for (const rate of [multiplyAdd, memoryRead]) expect(isRate(rate) && (rate.one ?? 0) > 1e8 && rate.all < 1e15).toBe(true)
    for (const rate of [cacheRead, bf16Dot, bf16Tile]) expect(isRate(rate) ? rate.all > 1e8 : (rate?.absent ?? '') !== '').toBe(true)
  })

  test('has every op at every length, or says why not', () => {
    const named = (op: string) => report.cases.filter((entry) => entry.op === op).length + report.notes.filter((note) => note.startsWith(`${op} `)).length
    const ops = ['prefill', 'decode', 'paged', 'mla-decode', 'mla-prefill', 'mla-step', 'mla-linear', 'rope', 'norm', 'linear', 'merge', 'append', 'quantize']
    expect(ops.map((op) => [op, named(op)])).toEqual(ops.map((op) => [op, 2]))
    expect(report.cases.length).toBeGreaterThan(10)
  })

  test('each case is consistent in itself, ran kernels of this build and was right', () => {
    const names = new Set(kernels().map(({ name }) => name))
    for (const entry of report.cases) {
      const { time } = entry
      expect(entry.kernels.length).toBeGreaterThan(0)
      expect(entry.kernels.filter((name) => !names.has(name))).toEqual([])
      expect([time.min, time.lower, time.median, time.upper, time.max].every((value, i, all) => value > 0 && value >= (all[i - 1] ?? 0))).toBe(true)
      expect(entry.flopRate * time.median).toBeCloseTo(entry.flops, -1)
      expect(entry.byteRate * time.median).toBeCloseTo(entry.bytes, -1)
      expect(entry.errorShare).toBeLessThanOrEqual(1)
      expect(entry.share).toBeGreaterThan(0)
      // Not a timing: only caches below the last level, which no peak measures, can put a case far above 1.
      if (entry.bound === 'compute') expect(entry.share).toBeLessThan(1.5)
    }
  })

  test('counts visible pairs of a causal prefill', () => {
    const prefill = report.cases.find((entry) => entry.op === 'prefill' && entry.length === 200)
    expect(prefill?.flops).toBe(4 * ((200 * 201) / 2) * 2 * (32 + 32))
    expect(prefill?.bytes).toBe(4 * 200 * 64 * (4 + 2))
  })

  test('has measured what a call costs', () => {
    const { enqueue, read, timerIdle, timerPrefill } = report.calls
    const ops = ['flashAttention', 'flashAttentionVarlen', 'pagedAttention', 'mlaDecode', 'mlaPrefill', 'mergeStates', 'rope', 'rmsNorm', 'linear', 'quantizeFloat8']
    expect(Object.keys(enqueue)).toEqual([...ops, ...ops.map((op) => `${op} behind other work`)])
    for (const time of [...Object.values(enqueue), read]) expect(time > 0 && time < 0.1).toBe(true)
    expect(timerPrefill.tokens).toBe(2000)
    for (const { median, max, timers } of [timerIdle, timerPrefill]) expect(median >= 0 && max >= median && timers > 0).toBe(true)
  })
})

describe('--compare', () => {
  const args = ['bench', 'prefill', 'decode', ...tiny]
  const { stdout } = runCli([...args, '--json'])
  const old = JSON.parse(stdout) as BenchReport
  const doctored = (name: string, change: (report: BenchReport) => unknown): string => {
    const file = join(folder, name)
    writeFileSync(file, JSON.stringify(change(structuredClone(old))))
    return file
  }
  // By so much that no load on the machine makes up for it.
  const scaled = (factor: number) => (report: BenchReport) => ({ ...report, cases: report.cases.map((entry) => ({ ...entry, share: entry.share * factor })) })

  test('an earlier result a million times as good is not reached: status 1', () => {
    const file = doctored('good.json', scaled(1e6))
    const { status, stdout, stderr } = runCli([...args, '--compare', file, '--fail-below', '0.95'])
    expect(status).toBe(1)
    expect(stdout).toContain('vs before')
    const ratios = ['prefill 64', 'prefill 200', 'decode 64', 'decode 200'].map((name) => `${name} \\(0\\.\\d\\d\\)`).join(', ')
    expect(stderr).toMatch(new RegExp(`below 0.95 of ${file}: ${ratios}\\n$`))
  })

  test('one a million times as bad is beaten: status 0', () => {
    const file = doctored('bad.json', scaled(1e-6))
    const { status, stdout } = runCli([...args, '--compare', file, '--fail-below', '0.95', '--json'])
    expect(status).toBe(0)
    const { cases } = JSON.parse(stdout) as BenchReport
    expect(cases.map(({ relative = NaN }) => relative > 1)).toEqual([true, true, true, true])
  })

  test('without --fail-below it only tells', () => {
    expect(runCli([...args, '--compare', doctored('good.json', scaled(1e6))]).status).toBe(0)
  })

  test.each([
    ['no file', () => join(folder, 'none.json'), 1, /^error: --compare: .*none\.json could not be read: ENOENT/],
    ['no result', () => doctored('empty.json', () => ({})), 1, /^error: --compare: .*empty\.json is no result of bench\n$/],
    ['other options', () => doctored('other.json', (report) => ({ ...report, settings: { ...report.settings, batch: 7 } })), 2,
      /^error: --compare: expected a result of the same options \(batch 1\), received batch 7\n$/],
  ])('%s is refused before anything is measured', (_, file, expected, message) => {
    const { status, stdout, stderr } = runCli([...args, '--compare', file()])
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' })
    expect(stderr).toMatch(message)
  })

  test('cases that were not timed before cannot be compared', () => {
    const { status, stderr } = runCli([...args, '--compare', doctored('none.json', (report) => ({ ...report, cases: [] }))])
    expect(status).toBe(1)
    expect(stderr).toMatch(/error: --compare: .*none\.json has none of the cases that were timed\n$/)
  })
})

test('--html writes a page that needs nothing else', () => {
  const file = join(folder, 'page.html')
  const { status } = runCli(['bench', 'prefill', 'norm', ...tiny, '--html', file])
  expect(status).toBe(0)
  const page = readFileSync(file, 'utf8')
  expect(page).toContain("default-src 'none'")
  expect(page.replaceAll(/<script>[^]*?<\/script>/g, '')).not.toMatch(/<(?:script|img|link|iframe)[^>]*(?:src|href)=|url\(|@import/)
  expect(page).toContain('prefill 64')
  const data = JSON.parse(/<script type="application\/json" id="report">(.*)<\/script>/.exec(page)![1]!) as { roofline: number[][]; speed: number[][]; ops: string[] }
  expect(data.ops).toEqual(['prefill', 'norm'])
  expect(data.speed[0]).toEqual([64, 200])
  expect(new Set(data.roofline.map((column) => column.length)).size).toBe(1)
})

test('--save names the file after the machine', () => {
  const { status, stderr } = runCli(['bench', 'rope', ...tiny, '--save'], {}, folder)
  expect(status).toBe(0)
  const saved = /saved (bench[\\/]results[\\/][a-z0-9-]+\.json)\n$/.exec(stderr)![1]!
  expect(existsSync(join(folder, saved))).toBe(true)
  expect(readdirSync(join(folder, 'bench', 'results'))).toHaveLength(1)
  const report = JSON.parse(readFileSync(join(folder, saved), 'utf8')) as BenchReport
  expect(report.date).toMatch(/^\d{4}-\d\d-\d\dT/)
  expect(report.machine.name).not.toBe('')
})
