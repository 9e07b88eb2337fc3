import { Tensor, type DeviceId, type MlaKvCache, type PagedKvCache } from '../../lib/index'
import { float64, plain, type Arithmetic } from '../reference/modules/arithmetic'
import { groupedQueryAttention } from '../reference/modules/grouped-query-attention'
import { multiHeadLatentAttention } from '../reference/modules/multi-head-latent-attention'
import { computeDTypes } from '../support/devices'
import { argumentError, expectError } from '../support/errors'
import { devicesByKernels, expectRefusal, latentDim, ropeDim, saturate, scalesTensor, storedLatent } from '../support/float8'
import { expectAsGoodAsPlain } from '../support/tolerance'
import { feed } from './feeding'
import { activations, gqaLayer, mlaLayer } from './layers'

const gqa = { hiddenSize: 32, numHeads: 4, numKvHeads: 2, headDim: 8, rope: { interleaved: false } } as const
const mla = {
  hiddenSize: 32, numHeads: 2, qLoraRank: null, kvLoraRank: latentDim, qkNopeHeadDim: 8, qkRopeHeadDim: ropeDim, vHeadDim: 6, rope: { interleaved: true },
} as const
const len = 19
const scale = Math.fround(0.013)

// What a cache keeps of exact rows. Where the layer's own arithmetic lands on the other side of a rounding boundary, so does that of the plain
// implementation: its error is measured over the same kind of cache.
const scaledCache = (on: Arithmetic): Arithmetic => ({ ...on, store: (values) => Float64Array.from(values, (x) => saturate(Math.fround(x / scale)) * scale) })

/** Of a layer's two parts the latents come first. */
function latentCache(on: Arithmetic): Arithmetic {
  let latents = true
  return {
    ...on,
    store: (values) => {
      const width = latents ? latentDim : ropeDim
      const rows = Array.from({ length: values.length / width }, (_, i) => Array.from({ length: width }, (_, d) => values[i * width + d]!))
      const stored = rows.flatMap((row) => {
        const { values } = latents ? storedLatent(row, new Float64Array(ropeDim)) : storedLatent(new Float64Array(latentDim), row)
        return Array.from(latents ? values.subarray(0, latentDim) : values.subarray(latentDim))
      })
      latents = !latents
      return Float64Array.from(stored)
    },
  }
}

const grouped = devicesByKernels((device) => {
  const { layer } = gqaLayer(gqa, { device, dtype: 'float32' })
  using cache = layer.createCache({ numPages: 2, dtype: 'float8_e4m3' })
  return layer.forward(activations(1, 2, 32, { device, dtype: 'float32' }).tensor, { cache, sequences: [cache.open()] })
})
const latent = devicesByKernels((device) => {
  const { layer } = mlaLayer(mla, { device, dtype: 'float32' })
  using cache = layer.createCache({ numPages: 2, dtype: 'float8_e4m3' })
  return layer.forward(activations(1, 2, 32, { device, dtype: 'float32' }).tensor, { cache, sequences: [cache.open()] })
})

for (const device of grouped.able) {
  describe.each(computeDTypes)(`GroupedQueryAttention with a cache of float8_e4m3 on ${device} in %s`, (dtype) => {
    it.each(['in one piece', 'in chunks', 'token by token'] as const)('is right %s', (feeding) => {
      const { layer, config, weights } = gqaLayer(gqa, { device, dtype })
      const x = activations(1, len, config.hiddenSize, { device, dtype })
      const scales = scalesTensor([scale, scale], [2], device)
      const withCache = {
        createCache: (options: { numPages: number; pageSize: number }): PagedKvCache => {
          const cache = layer.createCache({ ...options, dtype: 'float8_e4m3', keyScales: scales, valueScales: scales })
          expect([cache.keys.dtype, cache.stats.bytesPerToken]).toEqual(['float8_e4m3', 32])
          return cache
        },
        forward: layer.forward.bind(layer),
      }
      const expected = groupedQueryAttention(scaledCache(float64), config, weights, x.values)
      const measure = groupedQueryAttention(scaledCache(plain(dtype)), config, weights, x.values)
      expectAsGoodAsPlain(feed(withCache, x.tensor, feeding), expected, measure, { dtype })
    })
  })
}

for (const device of latent.able) {
  describe.each(computeDTypes)(`MultiHeadLatentAttention with a cache of float8_e4m3 on ${device} in %s`, (dtype) => {
    it.each((['expanded', 'absorbed'] as const).flatMap((form) => (['in one piece', 'in chunks', 'token by token'] as const).map((feeding) => [form, feeding] as const)))(
      'is right %s %s', (form, feeding) => {
        const { layer, config, weights } = mlaLayer(mla, { device, dtype })
        const x = activations(1, len, config.hiddenSize, { device, dtype })
        const withCache = {
          createCache: (options: { numPages: number; pageSize: number }): MlaKvCache => layer.createCache({ ...options, dtype: 'float8_e4m3' }),
          forward: (part: typeof x.tensor, given?: Parameters<typeof layer.forward>[1]) => layer.forward(part, { ...given, form }),
        }
        const expected = multiHeadLatentAttention(latentCache(float64), config, weights, x.values)
        const measure = multiHeadLatentAttention(latentCache(plain(dtype)), config, weights, x.values)
        expectAsGoodAsPlain(feed(withCache, x.tensor, feeding), expected, measure, { dtype })
      })
  })
}

describe('layers and float8_e4m3', () => {
  const device: DeviceId = 'cpu'
  it('an MLA layer of other features has no cache of it', () => {
    const { layer } = mlaLayer({ ...mla, kvLoraRank: 16, qkRopeHeadDim: 4 }, { device, dtype: 'float32' })
    expectError(() => layer.createCache({ numPages: 2, dtype: 'float8_e4m3' }), argumentError(
      'options.dtype', "kvLoraRank 512 and qkRopeHeadDim 64 where dtype is 'float8_e4m3'", 'kvLoraRank 16 and qkRopeHeadDim 4', 'UNSUPPORTED'))
  })

  it('scales are refused for a cache of another dtype, and activations of float8_e4m3 by both', () => {
    const { layer } = gqaLayer(gqa, { device, dtype: 'float32' })
    const keyScales = scalesTensor([1, 1], [2], device)
    expectError(() => layer.createCache({ numPages: 2, keyScales }), argumentError(
      'options.keyScales', "no scales where options.dtype is 'float32', not 'float8_e4m3'", 'a Tensor'))
    const x = Tensor.zeros([1, 2, 32], { dtype: 'float8_e4m3' })
    for (const { layer } of [gqaLayer(gqa, { device, dtype: 'float32' }), mlaLayer(mla, { device, dtype: 'float32' })]) {
      expectError(() => layer.forward(x), argumentError('x', 'dtype float32, float16 or bfloat16', 'float8_e4m3'))
    }
  })
})

for (const device of [...grouped.refusing, ...latent.refusing]) {
  test(`layers cannot keep float8_e4m3 on ${device} yet: refused, and the cache is as it was`, () => {
    const options = { device, dtype: 'bfloat16' } as const
    for (const { layer } of [...(grouped.refusing.includes(device) ? [gqaLayer(gqa, options)] : []), ...(latent.refusing.includes(device) ? [mlaLayer(mla, options)] : [])]) {
      using cache = layer.createCache({ numPages: 2, dtype: 'float8_e4m3' })
      const sequence = cache.open()
      expectRefusal(() => layer.forward(activations(1, 2, 32, options).tensor, { cache: cache as never, sequences: [sequence] }))
      expect([sequence.length, cache.stats.freePages]).toEqual([0, 2])
    }
  })
}
