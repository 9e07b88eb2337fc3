import { kernels } from '../../lib'
import { caseOf } from '../../lib/cli/bench/cases'
import { type BenchOptions, type BenchSettings, benchOps, settingsOf } from '../../lib/cli/bench/request'
import { bestOf } from '../../lib/cli/bench/peaks'
import { type Work, computePeakOf, roofline } from '../../lib/cli/bench/roofline'
import { judge } from '../../lib/cli/verify/case'
import { settledMemory } from '../support/memory'

const options: BenchOptions = {
  preset: 'study', heads: 6, kvHeads: 2, headDim: 24, headDimVo: 40, pageSize: 8, batch: 2, causal: true, dtype: 'float32', device: 'cpu', rounds: 1, seconds: 1,
}
const settings = settingsOf(options, 'cpu')

describe.each(benchOps)('%s', (op) => {
  test.each(['float32', 'float16', 'bfloat16'] as const)('its %s outputs pass the check, and would not were they 5%% off', (dtype) => {
    for (const changes of [{}, { causal: false }] as Partial<BenchSettings>[]) {
      using opened = caseOf[op]({ ...settings, dtype, ...changes }, 37).open()
      const checks = opened.check()
      expect(checks.length).toBeGreaterThan(0)
      expect(judge(checks).failure).toBeUndefined()
      for (const check of checks) {
        const wrong = { ...check, actual: Array.from(check.actual, (value) => value * 1.05 + 0.05) }
        expect(judge([wrong]).failure).toContain(check.what)
      }
    }
  })

  test('gives all memory back', async () => {
    const before = await settledMemory()
    const opened = caseOf[op](settings, 5).open()
    opened.run()
    opened[Symbol.dispose]()
    expect(await settledMemory()).toEqual(before)
  })
})

test('counts are those of the shapes', () => {
  const counts = (op: keyof typeof caseOf, length: number, changes: Partial<BenchSettings> = {}) => {
    const { flops, bytes } = caseOf[op]({ ...settings, ...changes }, length)
    return { flops, bytes }
  }
  const [heads, kvHeads, qk, vo, batch] = [6, 2, 24, 40, 2]
  expect(counts('prefill', 5)).toEqual({ flops: batch * heads * 15 * 2 * (qk + vo), bytes: 4 * batch * 5 * (heads + kvHeads) * (qk + vo) })
  expect(counts('prefill', 5, { causal: false }).flops).toBe(batch * heads * 25 * 2 * (qk + vo))
  expect(counts('decode', 9, { dtype: 'float16' })).toEqual({ flops: batch * heads * 9 * 2 * (qk + vo), bytes: 2 * batch * (heads + 9 * kvHeads) * (qk + vo) })
  expect(counts('mla-decode', 9)).toEqual({ flops: batch * heads * 9 * 2 * (192 + 128), bytes: 4 * batch * (9 * 192 + heads * (192 + 128)) })
  // 'study' has 1024 hidden features, queries by way of 384, and heads of 32 + 64 over latents of 128.
  const [hidden, qRank, rank, nope, rope, v] = [1024, 384, settings.kvLoraRank, settings.qkNopeHeadDim, settings.qkRopeHeadDim, settings.vHeadDim]
  const weights = qRank * (hidden + heads * (nope + rope)) + hidden * (rank + rope + heads * v) + heads * rank * (nope + v)
  expect(counts('mla-step', 9).flops).toBe(2 * batch * (weights + heads * 10 * (2 * rank + rope)))
  expect(counts('mla-step', 9).bytes).toBe(4 * (weights + batch * (10 * (rank + rope) + 2 * hidden)))
  expect(counts('mla-linear', 3).flops).toBe(2 * batch * 3 * weights)
  expect(counts('linear', 3)).toEqual({ flops: 2 * batch * 3 * 1024 * 1024, bytes: 4 * (2 * batch * 3 * 1024 + 1024 * 1024) })
  expect(counts('quantize', 3)).toEqual({ flops: 2 * batch * 3 * heads * qk, bytes: 5 * batch * 3 * heads * qk + 4 * batch * kvHeads })
  expect(counts('append', 3)).toEqual({ flops: 0, bytes: 2 * 4 * batch * 3 * kvHeads * (qk + vo) })
})

describe('the roofline', () => {
  const rate = (all: number) => ({ one: all, all })
  const peaks = { multiplyAdd: rate(100), bf16Dot: rate(200), bf16Tile: rate(1000), memoryRead: rate(10), cacheRead: rate(50) }
  const machine = { cacheBytes: 1000, peaks }
  const work = (flops: number, bytes: number, changes: Partial<Work> = {}): Work => ({ flops, bytes, compute: 'multiplyAdd', cold: false, ...changes })

  test('is the peak that takes longest', () => {
    expect(roofline(machine, work(1000, 10))).toEqual({ bound: 'compute', seconds: 10 })
    expect(roofline(machine, work(1000, 10, { compute: 'bf16Tile' }))).toEqual({ bound: 'compute', seconds: 1 })
    expect(roofline(machine, work(0, 250))).toEqual({ bound: 'cache', seconds: 5 })
    expect(roofline(machine, work(0, 251))).toEqual({ bound: 'memory', seconds: 25.1 })
    expect(roofline(machine, work(0, 250, { cold: true }))).toEqual({ bound: 'memory', seconds: 25 })
    expect(roofline({ ...machine, cacheBytes: null }, work(0, 250))).toEqual({ bound: 'memory', seconds: 25 })
    expect(roofline({ cacheBytes: null, peaks: { matmul: { all: 100 }, copy: { all: 20 } } }, work(10, 250, { compute: 'matmul' }))).toEqual({ bound: 'memory', seconds: 12.5 })
  })

  test('holds a kernel against the peak of its own instructions', () => {
    const names = kernels().filter(({ device }) => device === 'cpu')
    for (const { name, arch } of names) {
      expect(computePeakOf([name], peaks)).toBe({ amx: 'bf16Tile', avx512bf16: 'bf16Dot' }[arch] ?? 'multiplyAdd')
    }
    expect(computePeakOf([], peaks)).toBe('multiplyAdd')
    expect(computePeakOf([], { matmul: { all: 1 } })).toBe('matmul')
  })
})

test('of two measurements of the machine each number is the better one', () => {
  const absent = { absent: 'none' }
  expect(bestOf({ multiplyAdd: { one: 1, all: 5 }, bf16Tile: absent, copy: { all: 3 } }, { multiplyAdd: { one: 2, all: 4 }, bf16Tile: absent, copy: { all: 2 } })).toEqual({
    multiplyAdd: { one: 2, all: 5 }, bf16Tile: absent, copy: { all: 3 },
  })
})

test('a cold case is repeated in other memory with the same numbers', () => {
  for (const op of benchOps) {
    using opened = caseOf[op](settings, 9).open()
    using again = opened.again()
    expect(judge(again.check()).failure).toBeUndefined()
    again.run()
  }
})
