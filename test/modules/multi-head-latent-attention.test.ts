import { mlaDecode, Tensor, type FloatTensor, type MlaKvCache, type MultiHeadLatentAttention } from '../../lib/index'
import { float64, plain } from '../reference/modules/arithmetic'
import { multiHeadLatentAttention } from '../reference/modules/multi-head-latent-attention'
import { cosineDifference } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { expectAsGoodAsPlain } from '../support/tolerance'
import { feed, feedingNames, type Layer } from './feeding'
import { activations, mlaLayer, type LayerOptions, type MlaLayerConfig } from './layers'
import { expectAnswersToNothing, expectForkGoesOnAsOriginal, expectNothingLeftButOutput, expectWeightsFreed } from './promises'

const base = {
  hiddenSize: 32, numHeads: 4, qLoraRank: null, kvLoraRank: 16, qkNopeHeadDim: 8, qkRopeHeadDim: 4, vHeadDim: 6, rope: { interleaved: true },
} as const
const yarn = { type: 'yarn', factor: 40, originalMaxPositions: 8, mscale: 0.707, mscaleAllDim: 0.707 } as const

const configs: Readonly<Record<string, MlaLayerConfig & { readonly biases?: boolean }>> = {
  'DeepSeek-V2-Lite: no query compression': base,
  'DeepSeek-V3: compressed queries': { ...base, qLoraRank: 12 },
  'biases': { ...base, qLoraRank: 12, biases: true },
  'a scaled rope key': { ...base, keyRopeScale: 1 / 3 },
  'a scaled rope key with a bias': { ...base, keyRopeScale: 1 / 3, biases: true },
  'YaRN with its softmax scale': { ...base, rope: { theta: 100, interleaved: true, scaling: yarn } },
  'rotation by halves and a scale': { ...base, rope: { interleaved: false }, softmaxScale: 0.5 },
  'no rotation, odd dims': { ...base, rope: null, qkRopeHeadDim: 3, qkNopeHeadDim: 5, vHeadDim: 7, kvLoraRank: 11, keyRopeScale: 0.25 },
  'one head, another eps': { ...base, numHeads: 1, normEps: 1e-2 },
  'no causal bound': { ...base, causal: false },
}

const forms = ['expanded', 'absorbed', 'auto'] as const
const len = 19

function inForm(layer: MultiHeadLatentAttention, form: (typeof forms)[number]): Layer<MlaKvCache> {
  return { createCache: (options) => layer.createCache(options), forward: (x, given) => layer.forward(x, { ...given, form }) }
}

describe.each(devicesAndDTypes)('MultiHeadLatentAttention on %s in %s', (device, dtype) => {
  const options: LayerOptions = { device, dtype }

  describe.each(Object.entries(configs))('%s', (_, { biases = false, ...config }) => {
    const ways = config.causal === false ? feedingNames.slice(0, 2) : feedingNames
    let references: { expected: Float64Array; measure: Float64Array } | undefined // the same for all ways
    it.each(ways.flatMap((feeding) => forms.map((form) => [form, feeding] as const)))('is right %s %s', (form, feeding) => {
      const { layer, weights } = mlaLayer(config, { ...options, biases })
      const x = activations(1, len, config.hiddenSize, options)
      const { expected, measure } = (references ??= {
        expected: multiHeadLatentAttention(float64, config, weights, x.values),
        measure: multiHeadLatentAttention(plain(dtype), config, weights, x.values),
      })
      expectAsGoodAsPlain(feed(inForm(layer, form), x.tensor, feeding), expected, measure, { dtype })
    })
  })

  it.each(['expanded', 'absorbed'] as const)('takes a padded batch of sequences of different lengths (%s)', (form) => {
    const { layer, config, weights } = mlaLayer(base, { ...options, biases: true })
    const held = [7, 0, 3]
    const lens = [2, 5, 0]
    const sequences = held.map((count, b) => activations(1, count + lens[b]!, 32, { ...options, seed: 40 + b }).values)
    using cache = layer.createCache({ numPages: 16, pageSize: 2 })
    const opened = sequences.map((values, b) => {
      const sequence = cache.open()
      using prompt: FloatTensor = Tensor.from(values.subarray(0, held[b]! * 32), [1, held[b]!, 32], { dtype, device })
      disposeLater(layer.forward(prompt, { cache, sequences: [sequence], form }))
      return sequence
    })
    const padded = new Float64Array(3 * 5 * 32).fill(NaN) // padding may hold anything
    sequences.forEach((values, b) => padded.set(values.subarray(held[b]! * 32), b * 160))
    using x = Tensor.from(padded, [3, 5, 32], { dtype, device })
    using out = layer.forward(x, { cache, sequences: opened, lens, form })
    const rows = out.readSync()
    expect(opened.map(({ length }) => length)).toEqual([9, 5, 3])
    sequences.forEach((values, b) => {
      const padding = rows.subarray(b * 160 + lens[b]! * 32, (b + 1) * 160)
      expect([...padding]).toEqual(Array.from(padding, (_, i) => weights.oBias![i % 32]))
      if (lens[b] === 0) return
      const expected = multiHeadLatentAttention(float64, config, weights, values, held[b])
      const measure = multiHeadLatentAttention(plain(dtype), config, weights, values, held[b])
      expectAsGoodAsPlain(rows.subarray(b * 160, b * 160 + lens[b]! * 32), expected, measure, { dtype })
    })
  })

  it.each(['expanded', 'absorbed'] as const)('takes padding without a cache (%s)', (form) => {
    const { layer, config, weights } = mlaLayer(base, options)
    const { values } = activations(1, 2, 32, options)
    const padded = new Float64Array(3 * 32).fill(NaN)
    padded.set(values)
    using x = Tensor.from(padded, [1, 3, 32], { dtype, device })
    using out = layer.forward(x, { lens: [2], form })
    const rows = out.readSync()
    const expected = multiHeadLatentAttention(float64, config, weights, values)
    expectAsGoodAsPlain(rows.subarray(0, 64), expected, multiHeadLatentAttention(plain(dtype), config, weights, values), { dtype })
    expect([...rows.subarray(64)]).toEqual(new Array(32).fill(0))
  })

  it('rotates by given positions', () => {
    const { layer, config, weights } = mlaLayer(base, options)
    const x = activations(1, 6, 32, options)
    using positions = Tensor.from([100, 101, 102, 103, 104, 105], [1, 6], { dtype: 'int32', device })
    const expected = multiHeadLatentAttention(float64, config, weights, x.values, 0, 100)
    using out = layer.forward(x.tensor, { positions })
    const measure = multiHeadLatentAttention(plain(dtype), config, weights, x.values, 0, 100)
    expectAsGoodAsPlain(out.readSync(), expected, measure, { dtype })
    // The layer knows positions at all: tokens that stand further apart attend to each other otherwise.
    using apart = Tensor.from([0, 1, 2, 3, 4, 50], [1, 6], { dtype: 'int32', device })
    using other = layer.forward(x.tensor, { positions: apart })
    expect(cosineDifference(other.readSync().subarray(160), expected.subarray(160))).toBeGreaterThan(1e-4)
  })

  it.each(['bfloat16', 'float32'] as const)('keeps a %s cache, and both forms see what it kept', (cacheDType) => {
    const { layer, config, weights } = mlaLayer(base, options)
    const x = activations(1, len, 32, options)
    for (const form of ['expanded', 'absorbed'] as const) {
      using cache = layer.createCache({ numPages: 16, pageSize: 4, dtype: cacheDType })
      using out = layer.forward(x.tensor, { cache, sequences: [cache.open()], form })
      const expected = multiHeadLatentAttention(float64, config, weights, x.values)
      const measure = multiHeadLatentAttention(plain(dtype, cacheDType), config, weights, x.values)
      expectAsGoodAsPlain(out.readSync(), expected, measure, { dtype })
    }
  })

  it('takes weights of another dtype than x', () => {
    const { layer, config, weights } = mlaLayer({ ...base, keyRopeScale: 0.3 }, { device, dtype: 'bfloat16' })
    const x = activations(1, len, 32, options)
    for (const form of ['expanded', 'absorbed'] as const) {
      using out = layer.forward(x.tensor, { form })
      expect(out.dtype).toBe(dtype)
      const expected = multiHeadLatentAttention(float64, config, weights, x.values)
      expectAsGoodAsPlain(out.readSync(), expected, multiHeadLatentAttention(plain(dtype), config, weights, x.values), { dtype })
    }
  })
})

describe.each(testDevices)('MultiHeadLatentAttention on %s', (device) => {
  const options: LayerOptions = { device, dtype: 'float32' }
  const tiny = { ...base, hiddenSize: 8, numHeads: 1, kvLoraRank: 4, qkNopeHeadDim: 2, qkRopeHeadDim: 2, vHeadDim: 2 } as const

  it('expands a context longer than a chunk piece by piece', () => {
    const { layer, config, weights } = mlaLayer(tiny, options)
    // Beyond 4096 keys before the new ones: two chunks of old keys and the last one, merged.
    const x = activations(1, 8300, 8, options)
    using cache = layer.createCache({ numPages: 66, pageSize: 128 })
    const sequence = cache.open()
    using prompt = x.tensor.slice(1, 0, 8290)
    using rest = x.tensor.slice(1, 8290, 8300)
    disposeLater(layer.forward(prompt, { cache, sequences: [sequence], form: 'expanded' }))
    const fork = sequence.fork()
    using expanded = layer.forward(rest, { cache, sequences: [sequence], form: 'expanded' })
    using absorbed = layer.forward(rest, { cache, sequences: [fork], form: 'absorbed' })
    const expected = multiHeadLatentAttention(float64, config, weights, x.values, 8290)
    const measure = multiHeadLatentAttention(plain('float32'), config, weights, x.values, 8290)
    expectAsGoodAsPlain(expanded.readSync(), expected, measure, { dtype: 'float32' })
    expectAsGoodAsPlain(absorbed.readSync(), expected, measure, { dtype: 'float32' })
  })

  it('goes on from a fork as from the original', () => expectForkGoesOnAsOriginal(mlaLayer(base, options).layer, options))

  it('takes a plan for its absorbed form, of the sequences as they were', () => {
    const { layer, config } = mlaLayer(base, options)
    const x = activations(1, 7, 32, options)
    using cache = layer.createCache({ numPages: 16, pageSize: 4 })
    using prompt = x.tensor.slice(1, 0, 6)
    using next = x.tensor.slice(1, 6, 7)
    const sequence = cache.open()
    disposeLater(layer.forward(prompt, { cache, sequences: [sequence] }))
    using batch = cache.batch([sequence])
    using plan = mlaDecode.plan(cache, batch, { qoLen: 1, numHeads: config.numHeads })
    using other = mlaDecode.plan(cache, batch, { qoLen: 1, numHeads: 1 })
    expect(() => layer.forward(next, { cache, sequences: [sequence], form: 'absorbed', plan: other })).toThrow('a plan for numHeads 4, received one for numHeads 1')
    expect(sequence.length).toBe(6)
    const fork = sequence.fork()
    using planned = layer.forward(next, { cache, sequences: [sequence], form: 'absorbed', plan })
    using free = layer.forward(next, { cache, sequences: [fork], form: 'absorbed' })
    // float32 has no kernel that shares keys by a plan.
    expect(planned.readSync()).toEqual(free.readSync())
  })

  it.each(forms)('answers empty batches and empty pieces (%s)', (form) => expectAnswersToNothing(inForm(mlaLayer(base, options).layer, form), device))

  it.each(['expanded', 'absorbed'] as const)('holds its weights itself and leaves nothing but its output (%s)', async (form) => {
    const { layer, tensors } = mlaLayer({ ...base, qLoraRank: 12, keyRopeScale: 0.5 }, { ...options, biases: true })
    await expectNothingLeftButOutput(inForm(layer, form), tensors, options)
  })

  it('frees the weights on dispose, once', () =>
    expectWeightsFreed(() => mlaLayer({ ...base, qLoraRank: 12, keyRopeScale: 0.5 }, { ...options, biases: true }), device))
})
