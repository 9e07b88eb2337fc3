import {
  devices, GroupedQueryAttention, MlaKvCache, MultiHeadLatentAttention, PagedKvCache, ResourceError, Tensor, type FloatTensor,
} from '../../lib/index'
import { native, type Addon } from '../../lib/native'
import { testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { argumentError, expectError, thrownBy, type ExpectedError } from '../support/errors'
import type { Cache, Layer } from './feeding'
import { activations, gqaLayer, mlaLayer, type LayerOptions } from './layers'
import { settledMemory } from '../support/memory'

const gqa = { hiddenSize: 32, numHeads: 4, numKvHeads: 2, headDim: 8, rope: { interleaved: false } } as const
const mla = {
  hiddenSize: 32, numHeads: 4, qLoraRank: null, kvLoraRank: 16, qkNopeHeadDim: 8, qkRopeHeadDim: 4, vHeadDim: 6, rope: { interleaved: true },
} as const
const largest = 2 ** 31 - 1
const shapeError = (argument: string, expected: string, received: string) => argumentError(argument, expected, received, 'SHAPE_MISMATCH')

const outOfMemory = { type: ResourceError, code: 'OUT_OF_MEMORY', message: 'no memory, says the test' } as const

/** Runs `body` while the nth call of an addon function fails as it does when memory runs out. */
function failing(name: keyof Addon, nth: number, body: () => unknown): unknown {
  const real = native[name] as (...args: unknown[]) => unknown
  let calls = 0
  const spy = jest.spyOn(native as unknown as Record<string, () => unknown>, name).mockImplementation((...args: unknown[]) => {
    if (++calls === nth) throw Object.assign(new Error(outOfMemory.message), { attn: outOfMemory.code, requested: 1, available: 0 })
    return real(...args)
  })
  try {
    return body()
  } finally {
    spy.mockRestore()
    expect(calls).toBeGreaterThanOrEqual(nth)
  }
}

/** As expectError, for calls that make tensors of their own on the way. */
function expectErrorOnly(call: () => unknown, { type, code, message }: ExpectedError): void {
  const error = thrownBy(call)
  expect(error).toBeInstanceOf(type)
  expect(error).toMatchObject({ code, message })
}

describe.each(testDevices)('on %s', (device) => {
  const options: LayerOptions = { device, dtype: 'float32' }
  const zeros = (shape: readonly number[]): FloatTensor => disposeLater(Tensor.zeros(shape, { device }))
  const integers = (shape: readonly number[]): FloatTensor => disposeLater(Tensor.zeros(shape, { dtype: 'int32', device })) as unknown as FloatTensor
  const disposed = (shape: readonly number[]): FloatTensor => {
    const tensor = zeros(shape)
    tensor.dispose()
    return tensor
  }

  async function expectTakenBack<C extends Cache & Pick<PagedKvCache, 'stats'>>(layer: Layer<C>, call: keyof Addon, nth: number): Promise<void> {
    using cache = layer.createCache({ numPages: 8, pageSize: 4 })
    const sequence = cache.open()
    const { tensor: x } = activations(1, 6, 32, options)
    disposeLater(layer.forward(x, { cache, sequences: [sequence] }))
    const fork = sequence.fork()
    const before = [fork.pages, fork.length, { ...cache.stats }]
    const { tensors } = await settledMemory(device)
    expectErrorOnly(() => failing(call, nth, () => layer.forward(x, { cache, sequences: [fork] })), outOfMemory)
    await devices.synchronize(device)
    expect(devices.memory(device).tensors).toBe(tensors)
    expect([fork.pages, fork.length, cache.stats]).toEqual(before)
    // Both go on as if nothing had been.
    using a = layer.forward(x, { cache, sequences: [sequence] })
    using b = layer.forward(x, { cache, sequences: [fork] })
    expect(b.readSync()).toEqual(a.readSync())
  }

  function expectRefusedOnceDisposed(layer: GroupedQueryAttention | MultiHeadLatentAttention, name: string): void {
    const { tensor: x } = activations(1, 3, 32, options)
    layer.dispose()
    const gone = argumentError('this', `a live ${name}`, 'a disposed one', 'DISPOSED')
    expectError(() => layer.forward(x), gone)
    expectError(() => layer.createCache({ numPages: 1 }), gone)
  }

  describe('GroupedQueryAttention', () => {
    const build = (config: object, weights: object = {}): GroupedQueryAttention => {
      const { tensors } = gqaLayer(gqa, options)
      return new GroupedQueryAttention({ ...gqa, ...config }, { ...tensors, ...weights })
    }
    const positive = `an integer from 1 to ${largest}`

    it.each([
      [{ hiddenSize: 0 }, argumentError('config.hiddenSize', positive, '0')],
      [{ hiddenSize: undefined }, argumentError('config.hiddenSize', positive, 'undefined')],
      [{ numHeads: 1.5 }, argumentError('config.numHeads', positive, '1.5')],
      [{ numKvHeads: 3 }, argumentError('config.numKvHeads', 'a divisor of numHeads (4)', '3')],
      [{ numKvHeads: 8 }, argumentError('config.numKvHeads', 'a divisor of numHeads (4)', '8')],
      [{ hiddenSize: 33, headDim: undefined }, argumentError('config.headDim', 'a headDim where numHeads (4) does not divide hiddenSize (33)', 'undefined')],
      [{ headDim: 7 }, argumentError('config.headDim', 'an even number where rope rotates pairs', '7')],
      [{ rope: undefined }, argumentError('config.rope', 'a RopeConfig, or null for no rotation', 'undefined')],
      [{ rope: {} }, argumentError('config.rope.interleaved', 'true or false', 'undefined')],
      [{ rope: { interleaved: true, base: 1 } }, argumentError('config.rope', 'options among theta, interleaved, scaling', "unknown option 'base'")],
      [{ softmaxScale: NaN }, argumentError('config.softmaxScale', 'a finite number', 'NaN')],
      [{ softmaxScale: Infinity }, argumentError('config.softmaxScale', 'a finite number', 'Infinity')],
      [{ logitSoftcap: -1 }, argumentError('config.logitSoftcap', 'a finite number above 0', '-1')],
      [{ slidingWindow: 0 }, argumentError('config.slidingWindow', positive, '0')],
      [{ slidingWindow: -4 }, argumentError('config.slidingWindow', positive, '-4')],
      [{ causal: 1 }, argumentError('config.causal', 'true or false', '1')],
      [{ qkNormEps: 0 }, argumentError('config.qkNormEps', 'a finite number above 0', '0')],
      [{ qkNormEps: 1e-6 }, argumentError('config.qkNormEps', 'no eps without weights.qNorm or weights.kNorm', '0.000001')],
      [{ numLayers: 2 }, argumentError('config',
        'options among hiddenSize, numHeads, numKvHeads, headDim, rope, qkNormEps, slidingWindow, logitSoftcap, softmaxScale, causal',
        "unknown option 'numLayers'")],
    ])('config %j is refused', (config, expected) => expectErrorOnly(() => build(config), expected))

    it.each<[string, () => Record<string, unknown>, ReturnType<typeof argumentError>]>([
      ['no q', () => ({ q: undefined }), argumentError('weights.q', 'a tensor [numHeads · headDim, hiddenSize]', 'undefined')],
      ['a q of keys', () => ({ q: zeros([16, 32]) }), shapeError('weights.q', 'shape [numHeads · headDim, hiddenSize] = [32, 32]', '[16, 32]')],
      ['a transposed k', () => ({ k: zeros([32, 16]) }), shapeError('weights.k', 'shape [numKvHeads · headDim, hiddenSize] = [16, 32]', '[32, 16]')],
      ['a bias of another length', () => ({ vBias: zeros([32]) }), shapeError('weights.vBias', 'shape [numKvHeads · headDim] = [16]', '[32]')],
      ['integers', () => ({ o: integers([32, 32]) }), argumentError('weights.o', 'dtype float32, float16 or bfloat16', 'int32')],
      ['numbers', () => ({ o: new Float32Array(4) }), argumentError('weights.o', 'a Tensor', 'a Float32Array')],
      ['a disposed tensor', () => ({ o: disposed([32, 32]) }), argumentError('weights.o', 'a live tensor', 'a disposed tensor', 'DISPOSED')],
      ['a norm without its eps', () => ({ qNorm: zeros([8]) }), argumentError('config.qkNormEps', 'the eps of weights.qNorm and weights.kNorm', 'undefined')],
      ['an unknown name', () => ({ gate: zeros([8]) }),
        argumentError('weights', 'options among q, k, v, o, qBias, kBias, vBias, oBias, qNorm, kNorm', "unknown option 'gate'")],
    ])('weights with %s are refused', (_, weights, expected) => expectErrorOnly(() => build({}, weights()), expected))

    it('refuses what is no object at all', () => {
      expectErrorOnly(() => new GroupedQueryAttention(null as never, {} as never), argumentError('config', 'a configuration object', 'null'))
      expectErrorOnly(() => new GroupedQueryAttention(gqa, undefined as never), argumentError('weights', 'an object of tensors', 'undefined'))
    })

    it('refuses inputs that do not fit, and leaves the cache as it was', () => {
      const { layer } = gqaLayer(gqa, options)
      using cache = layer.createCache({ numPages: 4, pageSize: 4 })
      using other = new PagedKvCache({ numPages: 4, numKvHeads: 2, headDimQk: 16, device })
      const sequence = cache.open()
      const { tensor: x } = activations(1, 3, 32, options)
      disposeLater(layer.forward(x, { cache, sequences: [sequence] }))
      const before = [sequence.length, sequence.pages, cache.stats]
      const given = { cache, sequences: [sequence] }
      const [foreign, closed] = [layer.createCache({ numPages: 1 }), cache.open()]
      disposeLater(foreign)
      closed.close()
      const refused = (call: () => unknown, expected: ReturnType<typeof argumentError>): void => {
        expectError(call, expected)
        expect([sequence.length, sequence.pages, { ...cache.stats }]).toEqual(before)
      }
      const [wide, flat, ids, gone] = [zeros([1, 3, 33]), zeros([3, 32]), integers([1, 3, 32]), disposed([1, 3, 32])]
      const hidden = 'shape [batch, len, hiddenSize] with hiddenSize 32'
      refused(() => layer.forward(wide, given), shapeError('x', hidden, '[1, 3, 33]'))
      refused(() => layer.forward(flat, given), shapeError('x', hidden, '[3, 32]'))
      refused(() => layer.forward(ids, given), argumentError('x', 'dtype float32, float16 or bfloat16', 'int32'))
      refused(() => layer.forward(gone, given), argumentError('x', 'a live tensor', 'a disposed tensor', 'DISPOSED'))
      refused(() => layer.forward([] as never, given), argumentError('x', 'a Tensor', '[]'))
      refused(() => layer.forward(x, { sequences: [sequence] }), argumentError('options.cache', 'the cache of the sequences', 'undefined'))
      refused(() => layer.forward(x, { cache }), argumentError('options.sequences', '1 sequences of the cache', 'undefined'))
      refused(() => layer.forward(x, { cache, sequences: [] }), argumentError('options.sequences', '1 sequences, one per row of the batch', '0'))
      refused(() => layer.forward(x, { cache, sequences: [closed] }), argumentError('sequences[0]', 'an open sequence', 'a closed sequence', 'DISPOSED'))
      refused(() => layer.forward(x, { cache, sequences: [foreign.open()] }), argumentError('sequences[0]', 'a sequence of this cache', 'a sequence of another cache'))
      refused(() => layer.forward(x, { cache: other, sequences: [other.open()] }),
        shapeError('options.cache', 'a cache of numKvHeads 2 and head dims 8/8', 'numKvHeads 2 and head dims 16/16'))
      refused(() => layer.forward(x, { cache: {} as never, sequences: [sequence] }), argumentError('options.cache', 'a PagedKvCache', 'an object'))
      refused(() => layer.forward(x, { ...given, lens: [4] }), argumentError('options.lens[0]', 'an integer from 0 to 3', '4'))
      refused(() => layer.forward(x, { ...given, lens: [1, 1] }), argumentError('options.lens', '1 integers', '2'))
      const late = zeros([1, 3]) as unknown as Tensor<'int32'>
      refused(() => layer.forward(x, { ...given, positions: late }), argumentError('options.positions', 'dtype int32', 'float32'))
      const short = integers([1, 2]) as unknown as Tensor<'int32'>
      refused(() => layer.forward(x, { ...given, positions: short }), shapeError('options.positions', 'shape [batch, len] = [1, 3]', '[1, 2]'))
      refused(() => layer.forward(x, { ...given, form: 'absorbed' } as object),
        argumentError('options', 'options among cache, sequences, positions, lens', "unknown option 'form'"))
      const { tensor: long } = activations(1, 14, 32, options)
      const projections = jest.spyOn(native, 'linear')
      refused(() => layer.forward(long, given), {
        type: ResourceError, code: 'OUT_OF_PAGES',
        message: 'sequences: expected new tokens to need at most the 3 free pages of 4, received tokens that need 4',
      })
      expect(projections).not.toHaveBeenCalled() // found before anything is enqueued
      projections.mockRestore()
      const { tensor: pair } = activations(2, 1, 32, options)
      refused(() => layer.forward(pair, { cache, sequences: [sequence, sequence] }), argumentError('sequences[1]', 'each sequence once', 'the sequence at 0 again'))
    })

    it.each([['pagedAttention', 1], ['linear', 4], ['tensorFromBits', 2]] as const)('takes an append back when %s then fails (call %i)', (call, nth) =>
      expectTakenBack(gqaLayer(gqa, options).layer, call, nth))

    it('refuses work after dispose', () => expectRefusedOnceDisposed(gqaLayer(gqa, options).layer, 'GroupedQueryAttention'))

    it('refuses options of createCache that it sets itself', () => {
      const { layer } = gqaLayer(gqa, options)
      expectError(
        () => layer.createCache({ numPages: 1, numKvHeads: 4 } as { numPages: number }),
        argumentError('options', 'options among numPages, pageSize, dtype, keyScales, valueScales', "unknown option 'numKvHeads'"),
      )
    })

    it('shows its configuration with defaults, frozen', () => {
      const { tensors } = gqaLayer({ ...gqa, numKvHeads: 4 }, options)
      using layer = new GroupedQueryAttention({ hiddenSize: 32, numHeads: 4, rope: null }, tensors)
      expect(layer.config).toEqual({ hiddenSize: 32, numHeads: 4, numKvHeads: 4, headDim: 8, rope: null, softmaxScale: 1 / Math.sqrt(8), causal: true })
      expect(Object.isFrozen(layer.config)).toBe(true)
    })
  })

  describe('MultiHeadLatentAttention', () => {
    const build = (config: object, weights: object = {}): MultiHeadLatentAttention => {
      const { tensors } = mlaLayer(mla, options)
      return new MultiHeadLatentAttention({ ...mla, ...config }, { ...tensors, ...weights })
    }
    const positive = `an integer from 1 to ${largest}`

    it.each([
      [{ qLoraRank: undefined }, argumentError('config.qLoraRank', positive, 'undefined')],
      [{ kvLoraRank: -1 }, argumentError('config.kvLoraRank', positive, '-1')],
      [{ qkNopeHeadDim: 0 }, argumentError('config.qkNopeHeadDim', positive, '0')],
      [{ qkRopeHeadDim: 5 }, argumentError('config.qkRopeHeadDim', 'an even number where rope rotates pairs', '5')],
      [{ vHeadDim: '6' }, argumentError('config.vHeadDim', positive, "'6'")],
      [{ normEps: 0 }, argumentError('config.normEps', 'a finite number above 0', '0')],
      [{ keyRopeScale: NaN }, argumentError('config.keyRopeScale', 'a finite number', 'NaN')],
      [{ softmaxScale: -Infinity }, argumentError('config.softmaxScale', 'a finite number', '-Infinity')],
      [{ numKvHeads: 4 }, argumentError('config',
        'options among hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, rope, normEps, keyRopeScale, softmaxScale, causal',
        "unknown option 'numKvHeads'")],
    ])('config %j is refused', (config, expected) => expectErrorOnly(() => build(config), expected))

    it.each<[string, object, () => Record<string, unknown>, ReturnType<typeof argumentError>]>([
      ['no kvB', {}, () => ({ kvB: undefined }), argumentError('weights.kvB', 'a tensor [numHeads · (qkNopeHeadDim + vHeadDim), kvLoraRank]', 'undefined')],
      ['a kvA without the rope key', {}, () => ({ kvA: zeros([16, 32]) }),
        shapeError('weights.kvA', 'shape [kvLoraRank + qkRopeHeadDim, hiddenSize] = [20, 32]', '[16, 32]')],
      ['a compression that the configuration lacks', {}, () => ({ qA: zeros([12, 32]) }), argumentError('weights.qA', 'no tensor where qLoraRank is null', 'a tensor')],
      ['a compression missing', { qLoraRank: 12 }, () => ({}), argumentError('weights.qA', 'a tensor [qLoraRank, hiddenSize] (qLoraRank is 12)', 'undefined')],
      ['an uncompressed qB', { qLoraRank: 12 }, () => ({ qA: zeros([12, 32]), qANorm: zeros([12]) }),
        shapeError('weights.qB', 'shape [numHeads · (qkNopeHeadDim + qkRopeHeadDim), qLoraRank] = [48, 12]', '[48, 32]')],
    ])('weights with %s are refused', (_, config, weights, expected) => expectErrorOnly(() => build(config, weights()), expected))

    it('refuses inputs that do not fit, and leaves the cache as it was', () => {
      const { layer } = mlaLayer(mla, options)
      using cache = layer.createCache({ numPages: 4, pageSize: 4 })
      using other = new MlaKvCache({ numPages: 4, kvLoraRank: 16, qkRopeHeadDim: 8, device })
      const sequence = cache.open()
      const { tensor: x } = activations(1, 3, 32, options)
      const { tensor: long } = activations(1, 17, 32, options)
      const refused = (call: () => unknown, expected: Parameters<typeof expectError>[1]): void => {
        expectError(call, expected)
        expect([sequence.length, sequence.pages, cache.stats.freePages]).toEqual([0, [], 4])
      }
      refused(() => layer.forward(x, { form: 'latent' as 'absorbed' }), argumentError('options.form', "'auto' or 'expanded' or 'absorbed'", "'latent'"))
      refused(() => layer.forward(x, { cache: other, sequences: [other.open()] }),
        shapeError('options.cache', 'a cache of kvLoraRank 16 and qkRopeHeadDim 4', 'kvLoraRank 16 and qkRopeHeadDim 8'))
      refused(() => layer.forward(x, { cache, sequences: [sequence], form: 'x' as 'auto' }), argumentError('options.form', "'auto' or 'expanded' or 'absorbed'", "'x'"))
      refused(() => layer.forward(long, { cache, sequences: [sequence] }), {
        type: ResourceError, code: 'OUT_OF_PAGES',
        message: 'sequences: expected new tokens to need at most the 4 free pages of 4, received tokens that need 5',
      })
    })

    it.each([['absorbed', 'mlaDecode', 1], ['absorbed', 'linearPerHead', 2], ['expanded', 'mlaPrefill', 1], ['expanded', 'pagedGather', 1]] as const)(
      'takes an append back when %s attention fails then in %s (call %i)', (form, call, nth) => {
        const { layer } = mlaLayer(mla, options)
        return expectTakenBack<MlaKvCache>({ createCache: (given) => layer.createCache(given), forward: (x, given) => layer.forward(x, { ...given, form }) }, call, nth)
      },
    )

    it('refuses work after dispose', () => expectRefusedOnceDisposed(mlaLayer(mla, options).layer, 'MultiHeadLatentAttention'))

    it('scales by the width of queries and keys, never of the latent, and by the YaRN factor where it is given', () => {
      const scaling = { type: 'yarn', factor: 40, originalMaxPositions: 4096, mscale: 0.707, mscaleAllDim: 0.707 } as const
      const scaleOf = (config: object): number => {
        using layer = build(config)
        return layer.config.softmaxScale
      }
      expect(scaleOf({})).toBe(1 / Math.sqrt(12))
      expect(scaleOf({ rope: { interleaved: true, scaling } })).toBeCloseTo((0.1 * 0.707 * Math.log(40) + 1) ** 2 / Math.sqrt(12), 14)
      expect(scaleOf({ rope: { interleaved: true, scaling: { type: 'yarn', factor: 40, originalMaxPositions: 4096 } } })).toBe(1 / Math.sqrt(12))
      expect(scaleOf({ rope: { interleaved: true, scaling }, softmaxScale: 0.25 })).toBe(0.25)
    })
  })
})
