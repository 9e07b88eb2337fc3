import { GroupedQueryAttention, layerCosts, MultiHeadLatentAttention, Tensor } from '../../lib/index'
import type { AttentionConfig, FloatDType, MlaConfig } from '../../lib/index'
import { argumentError, expectError } from '../support/errors'

const llama3: AttentionConfig = { hiddenSize: 4096, numHeads: 32, numKvHeads: 8, rope: null }
const deepSeekV3: MlaConfig = {
  hiddenSize: 7168, numHeads: 128, qLoraRank: 1536, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128, rope: null,
}
const deepSeekV2Lite: MlaConfig = { ...deepSeekV3, hiddenSize: 2048, numHeads: 16, qLoraRank: null }

describe('published shapes', () => {
  test.each([
    ['Llama 2 7B', { hiddenSize: 4096, numHeads: 32, rope: null }, 67_108_864, 16_384],
    ['Llama 3 8B', llama3, 41_943_040, 4096],
    ['Llama 3 70B', { hiddenSize: 8192, numHeads: 64, numKvHeads: 8, rope: null }, 150_994_944, 4096],
    ['Qwen3 8B, with its two norms of 128', { ...llama3, headDim: 128, qkNormEps: 1e-6 }, 41_943_296, 4096],
    ['Gemma 2 9B', { hiddenSize: 3584, numHeads: 16, numKvHeads: 8, headDim: 256, rope: null }, 44_040_192, 8192],
    ['DeepSeek-V2-Lite', deepSeekV2Lite, 13_763_072, 1152],
    ['DeepSeek-V3', deepSeekV3, 187_107_328, 1152],
  ])('%s: parameters, and bytes of a token in bfloat16', (_, config, parameters, kvBytesPerToken) => {
    const costs = layerCosts(config, 'bfloat16')
    expect(costs.parameters).toBe(parameters)
    expect(costs.kvBytesPerToken).toBe(kvBytesPerToken)
  })

  test.each([['float32', 4], ['float16', 2], ['bfloat16', 2]] as const)('a number of the cache in %s takes %i bytes', (dtype, bytes) => {
    expect(layerCosts(deepSeekV3, dtype).kvBytesPerToken).toBe(576 * bytes)
  })

  test('in float8_e4m3 it takes one, and the rows of MLA, which have scales and a bfloat16 rope key, 656 bytes', () => {
    expect(layerCosts(llama3, 'float8_e4m3').kvBytesPerToken).toBe(layerCosts(llama3, 'bfloat16').kvBytesPerToken / 2)
    expect(layerCosts(deepSeekV3, 'float8_e4m3').kvBytesPerToken).toBe(656)
    expectError(() => layerCosts({ ...deepSeekV3, qkRopeHeadDim: 32 }, 'float8_e4m3'), argumentError(
      'dtype', "kvLoraRank 512 and qkRopeHeadDim 64 where dtype is 'float8_e4m3'", 'kvLoraRank 512 and qkRopeHeadDim 32', 'UNSUPPORTED'))
  })

  test('the default dtype is float32', () => {
    expect(layerCosts(deepSeekV3).kvBytesPerToken).toBe(2304)
  })
})

describe('floating-point operations', () => {
  /** Two per multiply-add, counted one query and key at a time. */
  function counted(config: AttentionConfig, len: number): number {
    const { hiddenSize, numHeads, numKvHeads = numHeads, headDim = hiddenSize / numHeads, slidingWindow = Infinity, causal = true } = config
    let flops = 2 * len * hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads)
    for (let i = 0; i < len; ++i) {
      for (let j = 0; j < len; ++j) {
        if ((causal && j > i) || i - j >= slidingWindow) continue
        flops += numHeads * (2 * headDim + 2 * headDim)
      }
    }
    return flops
  }
  const small: AttentionConfig = { hiddenSize: 12, numHeads: 4, numKvHeads: 2, headDim: 5, rope: null }

  test.each([
    ['causal', {}], ['with a window', { slidingWindow: 3 }], ['not causal', { causal: false }],
    ['not causal, with a window', { causal: false, slidingWindow: 4 }], ['with a window beyond the length', { slidingWindow: 100 }],
  ])('prefill %s, against loops', (_, extras) => {
    const config = { ...small, ...extras }
    for (const len of [0, 1, 2, 9]) expect(layerCosts(config).prefillFlops(len)).toBe(counted(config, len))
  })

  test('a decode step is the last row of a causal prefill', () => {
    for (const extras of [{}, { slidingWindow: 3 }]) {
      const config = { ...small, ...extras }
      const costs = layerCosts(config)
      for (const kvLen of [1, 3, 9]) expect(costs.decodeFlops(kvLen)).toBe(counted(config, kvLen) - counted(config, kvLen - 1))
    }
  })

  test('MLA prefills expanded and decodes absorbed', () => {
    const config: MlaConfig = { hiddenSize: 10, numHeads: 3, qLoraRank: 6, kvLoraRank: 4, qkNopeHeadDim: 5, qkRopeHeadDim: 2, vHeadDim: 7, rope: null }
    const query = 10 * 6 + 6 * 3 * 7
    const matrices = query + 10 * (4 + 2) + 4 * 3 * (5 + 7) + 3 * 7 * 10
    const costs = layerCosts(config)
    expect(costs.parameters).toBe(matrices + 6 + 4)
    expect(costs.prefillFlops(5)).toBe(5 * 2 * matrices + 15 * 3 * 2 * (5 + 2 + 7))
    expect(layerCosts({ ...config, causal: false }).prefillFlops(5)).toBe(5 * 2 * matrices + 25 * 3 * 2 * (5 + 2 + 7))
    // Logits over the row of 4 + 2, the weighted sum over its latent 4.
    expect(costs.decodeFlops(11)).toBe(2 * matrices + 11 * 3 * 2 * (4 + 2 + 4))
  })
})

test('the context that memory holds', () => {
  const costs = layerCosts(llama3, 'bfloat16')
  expect(costs.maxContext(8 * 2 ** 30, 32)).toBe(65_536)
  expect(costs.maxContext(32 * 4096 - 1, 32)).toBe(0)
  expect(costs.maxContext(0, 1)).toBe(0)
  expect(layerCosts(deepSeekV3, 'bfloat16').maxContext(8 * 2 ** 30, 61)).toBe(122_238)
})

describe('what the modules themselves hold', () => {
  const zeros = (...shape: number[]) => Tensor.zeros(shape)
  const dtypes: readonly FloatDType[] = ['float32', 'bfloat16']

  test('a GQA layer', () => {
    const config: AttentionConfig = { hiddenSize: 24, numHeads: 6, numKvHeads: 2, headDim: 8, rope: null, qkNormEps: 1e-6 }
    const weights = { q: zeros(48, 24), k: zeros(16, 24), v: zeros(16, 24), o: zeros(24, 48), qNorm: zeros(8), kNorm: zeros(8) }
    expect(layerCosts(config).parameters).toBe(sizes(weights))
    using layer = new GroupedQueryAttention(config, weights)
    for (const dtype of dtypes) {
      using cache = layer.createCache({ numPages: 1, dtype })
      expect(layerCosts(config, dtype).kvBytesPerToken).toBe(cache.stats.bytesPerToken)
    }
  })

  test('an MLA layer', () => {
    const config: MlaConfig = { hiddenSize: 20, numHeads: 3, qLoraRank: 12, kvLoraRank: 10, qkNopeHeadDim: 8, qkRopeHeadDim: 4, vHeadDim: 6, rope: null }
    const weights = { qA: zeros(12, 20), qANorm: zeros(12), qB: zeros(36, 12), kvA: zeros(14, 20), kvANorm: zeros(10), kvB: zeros(42, 10), o: zeros(20, 18) }
    expect(layerCosts(config).parameters).toBe(sizes(weights))
    using layer = new MultiHeadLatentAttention(config, weights)
    for (const dtype of dtypes) {
      using cache = layer.createCache({ numPages: 1, dtype })
      expect(layerCosts(config, dtype).kvBytesPerToken).toBe(cache.stats.bytesPerToken)
    }
  })

  function sizes(weights: Readonly<Record<string, Tensor>>): number {
    return Object.values(weights).reduce((sum, tensor) => sum + tensor.size, 0)
  }
})

describe('bad input', () => {
  const costs = layerCosts(llama3)
  test.each([
    ['no configuration', () => layerCosts(null as never), argumentError('config', 'a configuration object', 'null')],
    ['heads that do not divide', () => layerCosts({ ...llama3, numKvHeads: 3 }), argumentError('config.numKvHeads', 'a divisor of numHeads (32)', '3')],
    ['a rank of 0', () => layerCosts({ ...deepSeekV3, kvLoraRank: 0 }), argumentError('config.kvLoraRank', 'an integer from 1 to 2147483647', '0')],
    ['an unknown dtype', () => layerCosts(llama3, 'int32' as never),
      argumentError('dtype', "'float32' or 'float16' or 'bfloat16' or 'float8_e4m3'", "'int32'")],
    ['a negative length', () => costs.decodeFlops(-1), argumentError('kvLen', 'an integer of at least 0', '-1')],
    ['a length that is no integer', () => costs.prefillFlops(1.5), argumentError('len', 'an integer of at least 0', '1.5')],
    ['a negative budget', () => costs.maxContext(-1, 1), argumentError('bytes', 'a number of at least 0', '-1')],
    ['a budget that is NaN', () => costs.maxContext(NaN, 1), argumentError('bytes', 'a number of at least 0', 'NaN')],
    ['no layers', () => costs.maxContext(1, 0), argumentError('layers', 'an integer of at least 1', '0')],
  ])('%s', (_, call, error) => {
    expectError(call, error)
  })
})
