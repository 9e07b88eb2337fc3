import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kernels } from '../../lib'
import type { Measured } from '../../lib/cli/bench/measure'
import type { BenchMachine, Peaks } from '../../lib/cli/bench/report'
import { judged } from '../../lib/cli/bench/targets/judge'
import { type Target, speedupOf, targets } from '../../lib/cli/bench/targets/list'
import { targetRows, unfusedRows } from '../../lib/cli/bench/targets/rows'
import { measureUnfused } from '../../lib/cli/bench/targets/unfused'
import { spreadOf } from '../../lib/cli/compare/spread'
import { runCli } from './run-cli'

const folder = mkdtempSync(join(tmpdir(), 'targets-'))
afterAll(() => { rmSync(folder, { recursive: true }) })

const rate = (all: number) => ({ one: all / 2, all })
const peaks: Peaks = { multiplyAdd: rate(100), bf16Dot: rate(50), bf16Tile: rate(1000), memoryRead: rate(10), cacheRead: rate(50) }
const machine = { peaks, cacheBytes: 1000 } as BenchMachine
const [plain] = kernels().filter(({ device, arch }) => device === 'cpu' && arch !== 'amx' && arch !== 'avx512bf16').map(({ name }) => name)

/** One second of so many operations and bytes. */
function one(target: Target, flops: number, bytes: number, others: readonly [string, number][] = [], on = machine) {
  const entry = (rated: number): Measured => (
    { op: target.op, length: target.length, kernels: [plain!], flops: rated, bytes, time: spreadOf([1]), calls: 1, errorShare: 0 }
  )
  return judged(target, new Map([[target.name, entry(flops)], ...others.map(([name, rated]) => [name, entry(rated)] as const)]), on)
}

describe('a target', () => {
  const dot: Target = { name: 'x', op: 'prefill', length: 1, settings: { dtype: 'bfloat16' }, shares: [{ against: 'dot', least: 0.6 }] }

  test('of the dot peak shows the share of the tile peak beside it', () => {
    expect(one(dot, 40, 1)).toMatchObject({
      target: '60% of the bfloat16 dot peak', measured: '80%', met: true, tileShare: 0.04, share: 0.4, bound: 'compute', compute: 'multiplyAdd',
    })
    expect(one(dot, 29, 1)).toMatchObject({ measured: '58%', met: false })
  })

  test('of the dot peak falls back to multiply-adds where there is no dot product, and has no tile share where there are no tiles', () => {
    const absent = { absent: 'none' }
    const result = one(dot, 40, 1, [], { ...machine, peaks: { ...peaks, bf16Dot: absent, bf16Tile: absent } })
    expect(result).toMatchObject({ target: '60% of the multiply-add peak (no bfloat16 dot here)', measured: '40%', met: false })
    expect(result.tileShare).toBeUndefined()
  })

  test('of several peaks is met by any', () => {
    const either: Target = { ...dot, shares: [{ against: 'memory', least: 0.85 }, { against: 'dot', least: 0.5 }] }
    expect(one(either, 10, 9)).toMatchObject({ target: '85% of memory bandwidth or 50% of the bfloat16 dot peak', measured: '90% or 20%', met: true })
    expect(one(either, 10, 8)).toMatchObject({ measured: '80% or 20%', met: false })
  })

  test('of what binds takes the cache only where the data can be in it', () => {
    const binds: Target = { ...dot, shares: [{ against: 'roofline', least: 0.6 }] }
    expect(one(binds, 1, 35)).toMatchObject({ measured: '70%', met: true, bound: 'cache' })
    expect(one({ ...binds, settings: { cold: true } }, 1, 5)).toMatchObject({ measured: '50%', met: false, bound: 'memory' })
  })

  test('beside another is a ratio of rates; one that was left out is never met', () => {
    const beside: Target = { name: 'x', op: 'prefill', length: 1, settings: {}, beside: { name: 'y', least: 0.6 } }
    expect(one(beside, 30, 1, [['y', 50]])).toMatchObject({ target: '60% of the rate of y', measured: '60%', met: true })
    expect(one(beside, 30, 1).met).toBe(false)
  })

  test('names only others that there are', () => {
    const names = targets.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect([...targets.flatMap(({ beside }) => beside?.name ?? []), ...speedupOf].filter((name) => !names.includes(name))).toEqual([])
  })
})

test('rows say yes and no', () => {
  const report = {
    targets: [], speedups: { quick: spreadOf([1.9]), slow: spreadOf([1.8]) }, enqueue: { linear: 2e-6, rope: 4e-6 },
  } as unknown as Parameters<typeof targetRows>[0]
  expect(targetRows(report).map(([name, , , , measured, met]) => [name, measured, met])).toEqual([
    ['quick: two threads', '1.90× one round', 'yes'], ['slow: two threads', '1.80× one round', 'no'],
    ['linear returns after', '2 µs', 'yes'], ['rope returns after', '4 µs', 'no'],
  ])
})

describe('--unfused', () => {
  const shape = { op: 'prefill', length: 16, heads: [8, 2], dim: 64, causal: true, fusedSeconds: 2e-6, unfusedSeconds: 1e-6, unfusedOverFused: 0.5, rounds: 3 }
  const program = (text: string) => {
    const file = join(mkdtempSync(join(folder, 'bin-')), 'tests')
    writeFileSync(file, text)
    chmodSync(file, 0o755)
    return file
  }

  test('takes what the program prints, by the option that asks for it', () => {
    const report = measureUnfused(program(`#!/bin/sh\ntest "$1" = --sweep && echo '${JSON.stringify({ dtype: 'float32', threads: 2, shapes: [shape] })}'\n`))
    expect(unfusedRows(report)).toEqual([['prefill 16 causal', '8/2 of 64', '2 µs', '1 µs', '0.50×', 'no']])
  })

  test.each([
    ['that fails', '#!/bin/sh\nexit 1\n', /^--unfused: .* --sweep ended with status 1/],
    ['that prints something else', '#!/bin/sh\necho no\n', /^--unfused: .* --sweep printed no result: /],
  ])('a program %s ends the run', (_, text, message) => {
    expect(() => measureUnfused(program(text))).toThrow(message)
  })

  test('a missing program too, before anything is measured', () => {
    const { status, stdout, stderr } = runCli(['targets', '--unfused', join(folder, 'none')])
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^error: --unfused: .*none is no program\n$/)
  })
})
