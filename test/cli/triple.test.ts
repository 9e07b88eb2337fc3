import { layerCosts } from '../../lib/index'
import { attentionConfig, mlaConfig } from '../../lib/cli/compare/costs-report'
import { type CompareOptions, subjectOf } from '../../lib/cli/compare/request'
import { tripleOf } from '../../lib/cli/compare/triple'
import { type LayerShape, type Preset, presetNames, presets } from '../../lib/cli/presets'

const options: CompareOptions = {
  dtype: 'bfloat16', lengths: [512], prefill: 512, batch: 1, memory: 2 ** 33, device: 'cpu', rounds: 3, seconds: 1, seed: 1, measure: false,
}
const costsOf = (shape: LayerShape) => layerCosts(shape.kind === 'grouped' ? attentionConfig(shape) : mlaConfig(shape), 'bfloat16')

test.each([
  // Parameters of the published attention layer, its cache bytes per token in bfloat16, and the model's layers.
  ['llama-2-7b', 0, 67_108_864, 16_384, 32],
  ['llama-3-8b', 1, 41_943_040, 4096, 32],
  ['llama-3-70b', 1, 150_994_944, 4096, 80],
  ['mistral-7b', 1, 41_943_040, 4096, 32],
  ['qwen3-8b', 1, 41_943_040, 4096, 36],
  ['gemma-2-9b', 1, 44_040_192, 8192, 42],
  ['deepseek-v2-lite', 2, 13_763_072, 1152, 27],
  ['deepseek-v2', 2, 149_227_520, 1152, 60],
  ['deepseek-v3', 2, 187_107_328, 1152, 61],
] as const)('%s has its published layer in its place', (preset, at, parameters, bytes, layers) => {
  const subject = subjectOf({ ...options, preset })
  const native = subject.triple[at]
  expect(native.origin).toBe('published')
  expect(subject.layers).toBe(layers)
  expect([costsOf(native.shape).parameters, costsOf(native.shape).kvBytesPerToken]).toEqual([parameters, bytes])
})

test.each(presetNames)('%s: three layers of one hidden size that are what they are called', (preset) => {
  const [mha, gqa, mla] = subjectOf({ ...options, preset }).triple
  expect(new Set([mha, gqa, mla].map((mechanism) => mechanism.shape.hiddenSize)).size).toBe(1)
  expect(mha.shape.numKvHeads).toBe(mha.shape.numHeads)
  expect(gqa.shape.numKvHeads).toBeLessThan(gqa.shape.numHeads)
  for (const { shape } of [mha, gqa, mla]) expect(costsOf(shape).parameters).toBeGreaterThan(0)
  expect(costsOf(gqa.shape).kvBytesPerToken).toBeLessThan(costsOf(mha.shape).kvBytesPerToken)
  const { published }: Preset = presets[preset]
  expect([mha, gqa, mla].filter((mechanism) => mechanism.origin === 'published')).toHaveLength(published.length)
})

test("the rule for MLA reproduces DeepSeek's own layers from their heads", () => {
  for (const preset of ['deepseek-v2-lite', 'deepseek-v2', 'deepseek-v3'] as const) {
    const [published] = presets[preset].published
    const heads = { kind: 'grouped', hiddenSize: published.hiddenSize, numHeads: published.numHeads, numKvHeads: published.numHeads, headDim: 128 } as const
    expect(tripleOf([heads], 'as given')[2].shape).toEqual(published)
  }
})

test("Llama 3 8B beside an MHA of its heads and an MLA in DeepSeek's proportions", () => {
  expect(tripleOf(presets['llama-3-8b'].published, 'published')).toEqual([
    { id: 'mha', shape: { kind: 'grouped', hiddenSize: 4096, numHeads: 32, numKvHeads: 32, headDim: 128 }, origin: 'one key and value head for each query head' },
    { id: 'gqa', shape: { kind: 'grouped', hiddenSize: 4096, numHeads: 32, numKvHeads: 8, headDim: 128 }, origin: 'published' },
    {
      id: 'mla',
      shape: { kind: 'latent', hiddenSize: 4096, numHeads: 32, qLoraRank: 1536, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128 },
      origin: "dims in DeepSeek's proportions",
    },
  ])
})

test.each([[16, 4], [12, 3], [6, 1], [46, 2], [5, 1], [1, 1]])('%i heads without a published GQA layer get %i key and value heads', (numHeads, numKvHeads) => {
  const shape = { kind: 'grouped', hiddenSize: 64, numHeads, numKvHeads: numHeads, headDim: 8 } as const
  expect(tripleOf([shape], 'as given')[1].shape.numKvHeads).toBe(numKvHeads)
})

test('changes from the command line reach the layer they are for, and are named', () => {
  const [mha, gqa, mla] = subjectOf({ ...options, preset: 'deepseek-v2-lite', kvHeads: 2, kvLoraRank: 256, qLoraRank: 96 }).triple
  expect(mha.shape.numKvHeads).toBe(16)
  expect(gqa).toMatchObject({ shape: { numKvHeads: 2 }, origin: 'as given' })
  expect(mla).toMatchObject({ shape: { kvLoraRank: 256, qLoraRank: 96, vHeadDim: 128 }, origin: 'published, changed by options' })
})
