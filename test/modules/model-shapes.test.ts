/** Layers at the shapes of published models: a prompt, then one token at a time through the cache, against float64. */
import { GroupedQueryAttention, MultiHeadLatentAttention, Tensor, type DeviceId, type FloatTensor } from '../../lib/index'
import { float64, float64InFours, plain, type Arithmetic } from '../reference/modules/arithmetic'
import { gqaRows, gqaStored, type GqaReferenceWeights } from '../reference/modules/grouped-query-attention'
import { mlaRows, mlaStored, type MlaReferenceWeights } from '../reference/modules/multi-head-latent-attention'
import { expectClose, expectSameBits, worstError } from '../support/compare'
import { testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { Random } from '../support/random'
import { outputRounding, plainFactor } from '../support/tolerance'

const promptLen = 512
const decodeSteps = 32
const len = promptLen + decodeSteps
/** Output rows that are compared, as [begin, end): the ends and the middle of the prompt, and every decode step. */
const ranges = [[0, 2], [255, 257], [510, 512], [promptLen, len]] as const

const llama3 = { hiddenSize: 4096, numHeads: 32, numKvHeads: 8, headDim: 128, rope: { theta: 500000, interleaved: false } } as const
const deepseekV2Lite = {
  hiddenSize: 2048, numHeads: 16, qLoraRank: null, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128,
  rope: {
    theta: 10000,
    interleaved: true,
    scaling: { type: 'yarn', factor: 40, originalMaxPositions: 4096, betaFast: 32, betaSlow: 1, mscale: 0.707, mscaleAllDim: 0.707 },
  },
} as const

interface Weight {
  readonly tensor: FloatTensor
  readonly values: Float32Array
}

describe.each(testDevices)('on %s', (device) => {
  it('Llama 3 8B: prefill and decode of a grouped-query layer', () => {
    const weights = {
      q: normal(device, [4096, 4096], 1, 2 ** -6), k: normal(device, [1024, 4096], 2, 2 ** -6), v: normal(device, [1024, 4096], 3, 2 ** -6),
      o: normal(device, [4096, 4096], 4, 2 ** -6),
    }
    using layer = new GroupedQueryAttention(llama3, tensorsOf(weights))
    const values: GqaReferenceWeights = valuesOf(weights)
    const x = normal(device, [1, len, 4096], 5, 1)
    using cache = layer.createCache({ numPages: len / 16 })
    const sequences = [cache.open()]
    const actual = prefillAndDecode(x.tensor, (part) => layer.forward(part, { cache, sequences }))

    const stored = gqaStored(float64InFours, llama3, values, Float64Array.from(x.values))
    const rows = (on: Arithmetic): Float64Array[] => ranges.map(([begin, end]) => gqaRows(on, llama3, values, x.values, stored, begin, end))
    expectRows(actual, rows(float64InFours), rows(plain('float32')), 4096)
  })

  it('DeepSeek-V2-Lite: prefill and decode of a latent layer, in both forms', () => {
    const weights = {
      qB: normal(device, [3072, 2048], 1, 2 ** -6), kvA: normal(device, [576, 2048], 2, 2 ** -6), kvANorm: normal(device, [512], 3, 0.25, 1),
      kvB: normal(device, [4096, 512], 4, 2 ** -5), o: normal(device, [2048, 2048], 5, 2 ** -6),
    }
    using layer = new MultiHeadLatentAttention(deepseekV2Lite, tensorsOf(weights))
    const values: MlaReferenceWeights = valuesOf(weights)
    const x = normal(device, [1, len, 2048], 6, 1)
    const [auto, expanded, absorbed] = (['auto', 'expanded', 'absorbed'] as const).map((form) => {
      using cache = layer.createCache({ numPages: Math.ceil(len / 64) })
      const sequences = [cache.open()]
      return prefillAndDecode(x.tensor, (part) => layer.forward(part, { cache, sequences, form }))
    }) as [Float32Array, Float32Array, Float32Array]

    const stored = mlaStored(float64InFours, deepseekV2Lite, values, Float64Array.from(x.values))
    const rows = (on: Arithmetic): Float64Array[] => ranges.map(([begin, end]) => mlaRows(on, deepseekV2Lite, values, x.values, stored, begin, end))
    const expected = rows(float64InFours)
    const measure = rows(plain('float32'))
    for (const actual of [auto, expanded, absorbed]) expectRows(actual, expected, measure, 2048)
    // Against each other on all rows: each form may be off by what it is allowed against float64.
    expect(worstError(absorbed, expanded).error).toBeLessThanOrEqual(2 * Math.max(...allowances(expected, measure)))
    // Prompts cost less expanded, single tokens less absorbed; the cache holds the same rows either way.
    expectSameBits(auto.subarray(0, promptLen * 2048), expanded.subarray(0, promptLen * 2048))
    expectSameBits(auto.subarray(promptLen * 2048), absorbed.subarray(promptLen * 2048))
  })
})

it('the quick reference has the same sums as the plain one', () => {
  const random = new Random(8)
  const [x, weight] = [random.normals(5 * 37), random.normals(12 * 37)]
  expectSameBits(float64InFours.linear(x, weight, 37), float64.linear(x, weight, 37))
})

/**
 * What a plain float32 implementation is off by on the same rows, twice, plus the rounding of the output: the rule of all op tests.
 * The plain implementation is given exact keys and values, so that it is better than it could be and the rule stricter.
 */
function allowances(expected: readonly Float64Array[], measure: readonly Float64Array[]): number[] {
  return expected.map((rows, i) => plainFactor * worstError(measure[i]!, rows).error + outputRounding('float32', rows))
}

function expectRows(actual: Float32Array, expected: readonly Float64Array[], measure: readonly Float64Array[], hiddenSize: number): void {
  const allowed = allowances(expected, measure)
  ranges.forEach(([begin, end], i) => {
    expectClose(actual.subarray(begin * hiddenSize, end * hiddenSize), expected[i]!, allowed[i]!, `rows ${begin} to ${end}`)
  })
}

/** Normal numbers of a deviation, around `mean`. */
function normal(device: DeviceId, shape: readonly number[], seed: number, deviation: number, mean = 0): Weight {
  using drawn = Tensor.randn(shape, { device, seed })
  const values = drawn.readSync() as Float32Array
  for (let i = 0; i < values.length; ++i) values[i] = values[i]! * deviation + mean
  return { tensor: disposeLater(Tensor.from(values, shape, { device })), values }
}

function tensorsOf<Name extends string>(weights: Readonly<Record<Name, Weight>>): Record<Name, FloatTensor> {
  return mapped(weights, ({ tensor }) => tensor)
}

function valuesOf<Name extends string>(weights: Readonly<Record<Name, Weight>>): Record<Name, Float32Array> {
  return mapped(weights, ({ values }) => values)
}

function mapped<Name extends string, T>(weights: Readonly<Record<Name, Weight>>, pick: (weight: Weight) => T): Record<Name, T> {
  const entries = Object.entries(weights) as [Name, Weight][]
  return Object.fromEntries(entries.map(([name, weight]) => [name, pick(weight)])) as Record<Name, T>
}

/** All output rows of x [1, len, hiddenSize]: the prompt in one call, then a call per token. */
function prefillAndDecode(x: FloatTensor, forward: (part: FloatTensor) => FloatTensor): Float32Array {
  const hiddenSize = x.shape[2]!
  const rows = new Float32Array(len * hiddenSize)
  for (let begin = 0; begin < len; begin = Math.max(promptLen, begin + 1)) {
    using part = x.slice(1, begin, begin === 0 ? promptLen : begin + 1)
    using out = forward(part)
    rows.set(out.readSync(), begin * hiddenSize)
  }
  return rows
}
