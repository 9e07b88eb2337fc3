import { Tensor, type FloatTensor, type GroupedQueryAttention, type PagedKvCache, type Sequence } from '../../lib/index'
import { float64, plain, withCache } from '../reference/modules/arithmetic'
import { groupedQueryAttention } from '../reference/modules/grouped-query-attention'
import { cosineDifference } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { expectAsGoodAsPlain, softcapFactor } from '../support/tolerance'
import { feed, feedingNames } from './feeding'
import { activations, gqaLayer, type GqaConfig, type LayerOptions } from './layers'
import { expectAnswersToNothing, expectForkGoesOnAsOriginal, expectNothingLeftButOutput, expectWeightsFreed } from './promises'

const base = { hiddenSize: 32, numHeads: 4, numKvHeads: 2, headDim: 8, rope: { interleaved: false } } as const
const llama3 = { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 16 } as const
const yarn = { type: 'yarn', factor: 4, originalMaxPositions: 16 } as const

const configs: Readonly<Record<string, GqaConfig & { readonly biases?: boolean }>> = {
  'multi-head': { ...base, numKvHeads: 4 },
  'grouped-query': base,
  'multi-query': { ...base, numKvHeads: 1 },
  'Qwen3: norms of queries and keys, heads wider than the hidden size': { ...base, hiddenSize: 24, headDim: 16, qkNormEps: 1e-6 },
  'biases': { ...base, biases: true },
  'a sliding window': { ...base, slidingWindow: 4 },
  'a window of the token itself': { ...base, slidingWindow: 1 },
  'a softcap and a scale': { ...base, logitSoftcap: 2, softmaxScale: 0.7 },
  'the rotation of Llama 3.1': { ...base, rope: { theta: 500, interleaved: false, scaling: llama3 } },
  'YaRN, interleaved': { ...base, rope: { theta: 100, interleaved: true, scaling: yarn } },
  'no rotation': { ...base, rope: null },
  'no causal bound': { ...base, causal: false },
}

const len = 19

describe.each(devicesAndDTypes)('GroupedQueryAttention on %s in %s', (device, dtype) => {
  const options: LayerOptions = { device, dtype }

  describe.each(Object.entries(configs))('%s', (_, { biases = false, ...config }) => {
    // Without the causal bound a row sees later tokens too: only one piece at a time holds them all.
    const ways = config.causal === false ? feedingNames.slice(0, 2) : feedingNames
    let references: { expected: Float64Array; measure: Float64Array } | undefined // the same for all ways
    it.each(ways)('is right %s', (feeding) => {
      const { layer, weights } = gqaLayer(config, { ...options, biases })
      const x = activations(1, len, config.hiddenSize, options)
      const { expected, measure } = (references ??= {
        expected: groupedQueryAttention(float64, config, weights, x.values),
        measure: groupedQueryAttention(plain(dtype), config, weights, x.values),
      })
      const factor = config.logitSoftcap === undefined ? 2 : softcapFactor
      expectAsGoodAsPlain(feed(layer, x.tensor, feeding), expected, measure, { dtype, factor })
    })
  })

  it('takes a padded batch of sequences of different lengths', () => {
    const { layer, config, weights } = gqaLayer(base, options)
    const held = [7, 0, 3]
    const lens = [2, 5, 0]
    const sequences = held.map((count, b) => activations(1, count + lens[b]!, base.hiddenSize, { ...options, seed: 40 + b }).values)
    using cache = layer.createCache({ numPages: 16, pageSize: 2 })
    const opened = sequences.map((values, b) => prefilled(layer, cache, values.subarray(0, held[b]! * 32), options))
    const padded = new Float64Array(3 * 5 * 32).fill(NaN) // padding may hold anything
    sequences.forEach((values, b) => padded.set(values.subarray(held[b]! * 32), b * 5 * 32))
    using x = Tensor.from(padded, [3, 5, 32], { dtype, device })
    using out = layer.forward(x, { cache, sequences: opened, lens })
    const rows = out.readSync()
    expect(opened.map(({ length }) => length)).toEqual([9, 5, 3])
    sequences.forEach((values, b) => {
      if (lens[b] === 0) return
      const at = rows.subarray(b * 160, b * 160 + lens[b]! * 32)
      const expected = groupedQueryAttention(float64, config, weights, values, held[b])
      expectAsGoodAsPlain(at, expected, groupedQueryAttention(plain(dtype), config, weights, values, held[b]), { dtype })
    })
    lens.forEach((count, b) => expect([...rows.subarray(b * 160 + count * 32, (b + 1) * 160)]).toEqual(new Array((5 - count) * 32).fill(0)))
  })

  it('takes padding without a cache, and gives the output bias for it', () => {
    const { layer, config, weights } = gqaLayer(base, { ...options, biases: true })
    const first = activations(1, 2, 32, options).values
    const second = activations(1, 3, 32, { ...options, seed: 9 }).values
    const padded = new Float64Array(2 * 3 * 32).fill(NaN)
    padded.set(first)
    padded.set(second, 96)
    using x = Tensor.from(padded, [2, 3, 32], { dtype, device })
    using out = layer.forward(x, { lens: [2, 3] })
    const rows = out.readSync()
    ;[first, second].forEach((values, b) => {
      const expected = groupedQueryAttention(float64, config, weights, values)
      expectAsGoodAsPlain(rows.subarray(b * 96, b * 96 + values.length), expected, groupedQueryAttention(plain(dtype), config, weights, values), { dtype })
    })
    expect([...rows.subarray(64, 96)]).toEqual([...weights.oBias!])
  })

  it('rotates by given positions', () => {
    const { layer, config, weights } = gqaLayer(base, options)
    const x = activations(1, 6, 32, options)
    using positions = Tensor.from([100, 101, 102, 103, 104, 105], [1, 6], { dtype: 'int32', device })
    const expected = groupedQueryAttention(float64, config, weights, x.values, 0, 100)
    using out = layer.forward(x.tensor, { positions })
    expectAsGoodAsPlain(out.readSync(), expected, groupedQueryAttention(plain(dtype), config, weights, x.values, 0, 100), { dtype })
    // Scores depend on distances alone; a position that is out of step must show.
    using apart = Tensor.from([0, 1, 2, 3, 4, 50], [1, 6], { dtype: 'int32', device })
    using other = layer.forward(x.tensor, { positions: apart })
    expect(cosineDifference(other.readSync().subarray(160), expected.subarray(160))).toBeGreaterThan(1e-3)
  })

  it('keeps a cache of another dtype', () => {
    const { layer, config, weights } = gqaLayer(base, options)
    const x = activations(1, len, 32, options)
    for (const cacheDType of ['bfloat16', 'float32'] as const) {
      using cache = layer.createCache({ numPages: 16, pageSize: 4, dtype: cacheDType })
      expect(cache.keys.dtype).toBe(cacheDType)
      using out = layer.forward(x.tensor, { cache, sequences: [cache.open()] })
      const arithmetic = withCache(cacheDType)
      // The reference rounds what it stores after exact arithmetic, the product after its own: where the two sides of a rounding
      // boundary differ, so do the stored numbers. The plain implementation has the same difference.
      const expected = groupedQueryAttention(arithmetic, config, weights, x.values)
      expectAsGoodAsPlain(out.readSync(), expected, groupedQueryAttention(plain(dtype, cacheDType), config, weights, x.values), { dtype })
    }
  })

  it('takes weights of another dtype than x', () => {
    const { layer, config, weights } = gqaLayer(base, { device, dtype: 'bfloat16' })
    const x = activations(1, len, 32, options)
    using out = layer.forward(x.tensor)
    expect(out.dtype).toBe(dtype)
    const expected = groupedQueryAttention(float64, config, weights, x.values)
    expectAsGoodAsPlain(out.readSync(), expected, groupedQueryAttention(plain(dtype), config, weights, x.values), { dtype })
  })
})

describe.each(testDevices)('GroupedQueryAttention on %s', (device) => {
  const options: LayerOptions = { device, dtype: 'float32' }

  it('gives the same bits alone and in a batch, and from run to run', () => {
    const { layer } = gqaLayer(base, options)
    const x = activations(3, len, 32, options)
    using whole = layer.forward(x.tensor)
    using again = layer.forward(x.tensor)
    expect(again.readSync()).toEqual(whole.readSync())
    using part = x.tensor.slice(0, 1, 2)
    using alone = layer.forward(part)
    expect(alone.readSync()).toEqual(whole.readSync().slice(len * 32, 2 * len * 32))
  })

  it('goes on from a fork as from the original', () => expectForkGoesOnAsOriginal(gqaLayer(base, options).layer, options))

  it('answers empty batches and empty pieces', () => expectAnswersToNothing(gqaLayer(base, options).layer, device))

  it('holds its weights itself and leaves nothing but its output', async () => {
    const { layer, tensors } = gqaLayer({ ...base, qkNormEps: 1e-5 }, { ...options, biases: true })
    await expectNothingLeftButOutput(layer, tensors, options)
  })

  it('frees the weights on dispose, once', () => expectWeightsFreed(() => gqaLayer(base, options), device))
})

/** A sequence that holds these tokens. */
function prefilled(layer: GroupedQueryAttention, cache: PagedKvCache, values: Float64Array, { dtype, device }: LayerOptions): Sequence {
  const sequence = cache.open()
  using x: FloatTensor = Tensor.from(values, [1, values.length / 32, 32], { dtype, device })
  disposeLater(layer.forward(x, { cache, sequences: [sequence] }))
  return sequence
}
