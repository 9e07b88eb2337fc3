import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CompareReport } from '../../lib/cli/compare/report'
import { runCli, withoutAddon } from './run-cli'

const tiny = ['compare', '--hidden', '64', '--heads', '4', '--lengths', '16,40', '--prefill', '12', '--rounds', '3', '--seconds', '20']

let folder: string
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'compare-')) })
afterAll(() => { rmSync(folder, { recursive: true }) })

function compareJson(args: readonly string[]): CompareReport {
  const { status, stdout, stderr } = runCli([...args, '--json'])
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as CompareReport
}

test.each(['float32', 'float16', 'bfloat16'])('measures three layers in %s and reports all of it', (dtype) => {
  const report = compareJson([...tiny, '--dtype', dtype, '--batch', '2', '--threads', '1'])
  expect(report.machine).toMatchObject({ device: 'cpu', threads: 1, node: process.versions.node })
  expect(report.settings).toEqual({ dtype, batch: 2, lengths: [16, 40], prefill: 12, memoryBytes: 2 ** 33, seed: 1 })
  expect(report.mechanisms.map((mechanism) => mechanism.title)).toEqual(['MHA 4', 'GQA 4/1', 'MLA 4 · 64+8'])
  expect(report.notes).toEqual([])
  for (const { measured, id } of report.mechanisms) {
    const spreads = [measured?.prefill, ...(measured?.decode ?? [])]
    expect(spreads).toHaveLength(3)
    for (const spread of spreads) {
      expect(spread?.rounds).toBe(3)
      expect(spread?.median).toBeGreaterThan(0)
      expect(spread?.lower).toBeLessThanOrEqual(spread?.upper ?? NaN)
    }
    expect(measured?.decode.map((entry) => entry.kvLen)).toEqual([16, 40])
    expect(measured?.prefill?.tokensPerSecond).toBeCloseTo(24 / (measured?.prefill?.median ?? NaN), 6)
    expect(measured?.formsDiffer === undefined).toBe(id !== 'mla')
  }
  expect(report.reading.some((entry) => entry.startsWith('Choice: '))).toBe(true)
})

test('text on standard output, what goes on as plain lines on standard error', () => {
  const { status, stdout, stderr } = runCli(tiny)
  expect(status).toBe(0)
  expect(stdout).toContain('MHA, GQA and MLA at hidden size 64 with 4 heads of 16\n')
  expect(stdout).toMatch(/\n {2}decode at 40 +[\d.]+ (µs|ms) ±/)
  expect(stderr.split('\n')).toEqual([
    'building MHA 4', 'building GQA 4/1', 'building MLA 4 · 64+8', 'checking the outputs', 'timing decode at 16', 'timing decode at 40',
    'timing prefill 12', '',
  ])
})

test('what the time does not allow is left out and named', () => {
  const report = compareJson([...tiny, '--seconds', '0.000001'])
  expect(report.mechanisms.map((mechanism) => mechanism.measured?.decode)).toEqual([[], [], []])
  expect(report.notes).toContain('decode at 40 was left out of the 0.000001 s for measuring: no time was left. More time: --seconds.')
  expect(report.reading.find((entry) => entry.startsWith('Choice'))).toContain('by memory alone as nothing was measured')
})

test('a length whose cache the memory does not hold is left out and named', () => {
  const report = compareJson([...tiny, '--lengths', '16,4000000000', '--threads', '1'])
  expect(report.mechanisms.map((mechanism) => mechanism.measured?.decode.map((entry) => entry.kvLen))).toEqual([[16], [16], [16]])
  expect(report.notes).toEqual([expect.stringMatching(/^decode at 4,000,000,000 was not measured: it needs [\d.]+ TiB, [\d.]+ [GM]iB are free\.$/)])
})

test('costs alone need no addon, and --html writes them as a page', () => {
  const file = join(folder, 'report.html')
  const { status, stdout, stderr } = runCli(['compare', '--preset', 'deepseek-v3', '--no-measure', '--dtype', 'bfloat16', '--html', file, '--json'], withoutAddon)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const report = JSON.parse(stdout) as CompareReport
  expect(report.machine).toBeNull()
  expect(report.mechanisms[2]).toMatchObject({ parameters: 187_107_328, kvBytesPerToken: 1152, kvBytesPerTokenModel: 61 * 1152, maxContext: 122_238, measured: null })
  expect(readFileSync(file, 'utf8')).toContain('<title>MHA, GQA and MLA at the size of DeepSeek-V3</title>')
})

test('a page that cannot be written: the numbers come out, the status is 1', () => {
  const file = join(folder, 'no-such-folder', 'report.html')
  const { status, stdout, stderr } = runCli(['compare', '--no-measure', '--html', file])
  expect(status).toBe(1)
  expect(stdout).toContain('tokens in 8 GiB')
  expect(stderr).toMatch(/^error: the page could not be written: ENOENT.*\n$/)
  expect(existsSync(file)).toBe(false)
})
