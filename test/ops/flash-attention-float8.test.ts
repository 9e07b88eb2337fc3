import { flashAttention, flashAttentionVarlen, Tensor, type DeviceId, type FloatTensor } from '../../lib/index'
import { attention, type AttentionArrays, type ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays, type AttentionCase } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { computeDTypes, type ComputeDType } from '../support/devices'
import { argumentError, expectError, type ExpectedError } from '../support/errors'
import { dequantised, devicesByKernels, expectRefusal, randomScales, scaledQueries, scalesTensor } from '../support/float8'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { callOptions } from '../support/run-attention'
import { stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from '../support/tolerance'

type Scales = 'none' | 'per head' | 'per sequence and head'

interface Float8Call {
  readonly q: FloatTensor
  readonly k: FloatTensor
  readonly v: FloatTensor
  readonly options: { queryScales?: Tensor<'float32'>; keyScales?: Tensor<'float32'>; valueScales?: Tensor<'float32'> }
  /** The numbers that the operands stand for. */
  readonly arrays: AttentionArrays
}

/** q in `dtype`, which may be float8_e4m3; k and v in float8_e4m3. */
function makeCall(c: AttentionCase, dtype: ComputeDType | 'float8_e4m3', kind: Scales, device: DeviceId, seed = 5): Float8Call {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo } = c
  const random = new Random(seed)
  const codes = makeArrays(c, 'float8_e4m3', seed)
  const q = dtype === 'float8_e4m3' ? codes.q : makeArrays(c, dtype, seed).q
  const scales = (): Float64Array | undefined => (kind === 'none' ? undefined : randomScales((kind === 'per head' ? 1 : batch) * numKvHeads, random))
  const shape = kind === 'per head' ? [numKvHeads] : [batch, numKvHeads]
  const [qs, ks, vs] = [dtype === 'float8_e4m3' ? scales() : undefined, scales(), scales()]
  return {
    q: tensorOf(q, [batch, qoLen, numQoHeads, headDimQk], dtype, device),
    k: tensorOf(codes.k, [batch, kvLen, numKvHeads, headDimQk], 'float8_e4m3', device),
    v: tensorOf(codes.v, [batch, kvLen, numKvHeads, headDimVo], 'float8_e4m3', device),
    options: {
      ...(qs && { queryScales: scalesTensor(qs, shape, device) }),
      ...(ks && { keyScales: scalesTensor(ks, shape, device) }),
      ...(vs && { valueScales: scalesTensor(vs, shape, device) }),
    },
    arrays: {
      ...codes,
      q: scaledQueries(q, qs, codes),
      k: dequantised(codes.k, ks, numKvHeads, headDimQk, kvLen * numKvHeads * headDimQk),
      v: dequantised(codes.v, vs, numKvHeads, headDimVo, kvLen * numKvHeads * headDimVo),
    },
  }
}

function check(overrides: Partial<AttentionCase>, dtype: ComputeDType | 'float8_e4m3', kind: Scales, device: DeviceId): void {
  const c = attentionCase(overrides)
  const { q, k, v, options, arrays } = makeCall(c, dtype, kind, device)
  const outDType = dtype === 'float8_e4m3' ? 'bfloat16' : dtype
  const { out, lse } = flashAttention(q, k, v, { ...callOptions(c.options, c.batch, c.numQoHeads, device), ...options })
  expect([out.dtype, out.shape]).toEqual([outDType, [c.batch, c.qoLen, c.numQoHeads, c.headDimVo]])
  expectGood(out, lse, arrays, c.options, outDType)
}

/**
 * Against float64 over the numbers that the operands stand for: elements of float8_e4m3 are exact in every compute dtype and their scales one factor
 * of float32, so no more is allowed than a plain implementation in out's dtype needs.
 */
function expectGood(out: FloatTensor, lse: Tensor<'float32'>, arrays: AttentionArrays, options: ReferenceOptions, dtype: ComputeDType): void {
  const [expected, plain] = [attention(arrays, options), plainAttention(arrays, options, dtype)]
  const factor = options.logitSoftcap ? softcapFactor : plainFactor
  expectAsGoodAsPlain(out.readSync(), expected.out, plain.out, { dtype, factor })
  expectLseAsGoodAsPlain(lse.readSync(), expected.lse, plain.lse, factor)
}

const optionCases: readonly ReferenceOptions[] = [
  { causal: true }, { window: { left: 10, right: 2 } }, { logitSoftcap: 15, softmaxScale: 0.5 }, { softmaxScale: -0.25 }, { sinks: [0, 2, -1, 0.5] },
  { alibiSlopes: [0.5, 0.25, 0.125, 0.0625], causal: true }, { kvLens: [17, 40] },
]

/** What runs alike with queries in float8_e4m3 and in a compute dtype. */
function sharedTests(dtype: ComputeDType | 'float8_e4m3', device: DeviceId): void {
  it.each<Scales>(['none', 'per head', 'per sequence and head'])('scales: %s', (kind) => {
    check({ batch: 2, qoLen: 1, kvLen: 70 }, dtype, kind, device)
    check({ batch: 2, qoLen: 40, kvLen: 70, options: { causal: true } }, dtype, kind, device)
    if (kind === 'per sequence and head') check({ batch: 2, qoLen: 40, kvLen: 70, headDimQk: 256 }, dtype, kind, device)
  })

  it.each([[64, 64], [128, 128], [256, 256], [96, 96], [192, 128], [20, 20], [59, 31]])('head dims %d and %d', (headDimQk, headDimVo) => {
    check({ headDimQk, headDimVo, qoLen: 1, kvLen: 67 }, dtype, 'per head', device)
    check({ headDimQk, headDimVo, qoLen: 75, kvLen: 140, options: { causal: true } }, dtype, 'per head', device)
  })

  it.each([[1, 1], [0, 5], [5, 0], [1, 2049], [130, 257], [300, 3]])('%d queries, %d keys', (qoLen, kvLen) => {
    check({ qoLen, kvLen, headDimQk: 32, options: { causal: true } }, dtype, 'per head', device)
  })

  it.each([[1, 1], [4, 4], [6, 2], [12, 1], [32, 4]])('%d query heads over %d kv heads', (numQoHeads, numKvHeads) => {
    check({ numQoHeads, numKvHeads, qoLen: 3, kvLen: 50 }, dtype, 'per head', device)
    check({ numQoHeads, numKvHeads, qoLen: 33, kvLen: 50 }, dtype, 'per head', device)
  })

  it.each(optionCases)('option %j', (options) => {
    check({ batch: 2, qoLen: 6, kvLen: 40, options }, dtype, 'per head', device)
    check({ batch: 2, qoLen: 40, kvLen: 40, options }, dtype, 'per head', device)
  })
}

const caches = devicesByKernels((device) => {
  const { q, k, v } = makeCall(attentionCase({}), 'bfloat16', 'none', device)
  return flashAttention(q, k, v)
})
const queries = devicesByKernels((device) => {
  const { q, k, v } = makeCall(attentionCase({}), 'float8_e4m3', 'none', device)
  return flashAttention(q, k, v)
})

for (const device of caches.able) {
  for (const dtype of computeDTypes) {
    describe(`keys and values in float8_e4m3, queries in ${dtype}, on ${device}`, () => sharedTests(dtype, device))
  }
}

for (const device of queries.able) {
  describe(`queries, keys and values in float8_e4m3 on ${device}`, () => {
    sharedTests('float8_e4m3', device)

    it.each(computeDTypes)('gives out in %s when told, by dtype or by out', (dtype) => {
      const c = attentionCase({ qoLen: 20, kvLen: 30 })
      const { q, k, v, options, arrays } = makeCall(c, 'float8_e4m3', 'per head', device)
      const told = flashAttention(q, k, v, { ...options, dtype, returnLse: true })
      expect(told.out.dtype).toBe(dtype)
      expectGood(told.out, told.lse, arrays, {}, dtype)
      const out = Tensor.empty([1, 20, 4, 64], { dtype, device })
      expect(flashAttention(q, k, v, { ...options, out }).out).toBe(out)
      expectSameBits(out.readSync(), told.out.readSync())
    })
  })
}

for (const device of caches.able.filter((device) => queries.able.includes(device))) {
  describe(`float8_e4m3 on ${device}`, () => {
    it('reads operands and scales through strides', () => {
      const c = attentionCase({ batch: 2, qoLen: 9, kvLen: 30, headDimQk: 20 })
      const { q, k, v, options } = makeCall(c, 'float8_e4m3', 'per sequence and head', device)
      const packed = flashAttention(q, k, v, options).out.readSync()
      const strided = (tensor: FloatTensor, order: readonly number[]): FloatTensor =>
        stridedView(Array.from(tensor.readSync()), tensor.shape, tensor.dtype, device, { order })
      const scales = Object.fromEntries(Object.entries(options).map(([name, tensor]) => [name, strided(tensor, [1, 0])]))
      const views = flashAttention(strided(q, [0, 2, 1, 3]), strided(k, [0, 2, 1, 3]), strided(v, [3, 0, 1, 2]), scales as typeof options).out.readSync()
      expectSameBits(views, packed)
    })

    it.each([64, 256])('gives packed sequences of %d features the bits that they have alone, each with its scales', (headDimQk) => {
      const lens = [device === 'cpu' ? 5 : 33, 0, 33]  // GPUs choose the kernel by the longest sequence, and few rows have one of their own
      const indptr = [0, lens[0]!, lens[0]!, lens[0]! + 33]
      const c = attentionCase({ batch: 3, qoLen: 33, kvLen: 33, headDimQk })
      const { q, k, v, options } = makeCall(c, 'float8_e4m3', 'per sequence and head', device)
      const rowsOf = (tensor: FloatTensor, b: number): FloatTensor => tensor.slice(0, b, b + 1).slice(1, 0, lens[b]!)
      const pack = (tensor: FloatTensor): FloatTensor => {
        const rows = lens.flatMap((_, b) => Array.from(rowsOf(tensor, b).readSync()))
        return tensorOf(rows, [indptr[3]!, tensor.shape[2]!, headDimQk], 'float8_e4m3', device)
      }
      const { out } = flashAttentionVarlen(pack(q), pack(k), pack(v), { qoIndptr: indptr, kvIndptr: indptr, causal: true, ...options })
      expect(out.dtype).toBe('bfloat16')
      for (const b of [0, 2]) {
        const own = Object.fromEntries(Object.entries(options).map(([name, tensor]) => [name, tensor.slice(0, b, b + 1)])) as typeof options
        const alone = flashAttention(rowsOf(q, b), rowsOf(k, b), rowsOf(v, b), { causal: true, ...own }).out
        expectSameBits(out.slice(0, indptr[b]!, indptr[b + 1]!).readSync(), alone.readSync(), `sequence ${b}`)
      }
    })

    it.each([['NaN', NaN], ['0', 0], ['infinity', Infinity]])('a scale of %s gives what it gives, and only where it is used', (_, scale) => {
      const c = attentionCase({ qoLen: 3, kvLen: 5 })
      const { q, k, v } = makeCall(c, 'float8_e4m3', 'none', device)
      const scales = scalesTensor([scale, 1], [2], device)
      const plain = flashAttention(q, k, v).out.readSync()
      for (const name of ['queryScales', 'keyScales', 'valueScales'] as const) {
        const out = flashAttention(q, k, v, { [name]: scales }).out.readSync()
        for (let i = 0; i < 3; ++i) {
          const at = (i * 4 + 2) * 64 // the heads of the second kv head
          expectSameBits(out.slice(at, at + 128), plain.slice(at, at + 128), name)
          if (Number.isNaN(scale)) expect(out.slice(i * 256, i * 256 + 128).every(Number.isNaN)).toBe(true)
        }
        if (name === 'valueScales' && scale === 0) expect(out.slice(0, 128).every((value) => value === 0)).toBe(true)
      }
      // A row without keys is 0 whatever its scales.
      const none = flashAttention(q, k.slice(1, 0, 0), v.slice(1, 0, 0), { valueScales: scales, keyScales: scales }).out.readSync()
      expect(none.every((value) => value === 0)).toBe(true)
    })

    it('carries NaN of its elements', () => {
      const c = attentionCase({ qoLen: 2, kvLen: 40, numQoHeads: 2, numKvHeads: 2 })
      for (const qoLen of [2, 20]) {
        const { q, k, v } = makeCall({ ...c, qoLen }, 'float8_e4m3', 'none', device)
        const values = Array.from(v.readSync())
        values[64 * 2 * 7 + 3] = NaN // key 7, head 0, feature 3
        const out = flashAttention(q, k, tensorOf(values, v.shape, 'float8_e4m3', device)).out.readSync()
        out.forEach((value, n) => expect(Number.isNaN(value)).toBe(n % 128 === 3))
      }
    })

    it('keeps scales alive that are disposed while the work is queued', () => {
      const c = attentionCase({ qoLen: 20, kvLen: 30 })
      const { q, k, v, options } = makeCall(c, 'float8_e4m3', 'per head', device)
      const expected = flashAttention(q, k, v, options).out.readSync()
      const { out } = flashAttention(q, k, v, options)
      for (const tensor of Object.values(options)) tensor.dispose()
      expectSameBits(out.readSync(), expected)
      expect(() => flashAttention(q, k, v, options)).toThrow(/disposed/)
    })
  })
}

describe('what fits no operand is refused', () => {
  const device = 'cpu'
  const zeros = (shape: readonly number[], dtype: 'float32' | 'bfloat16' | 'float8_e4m3'): FloatTensor => Tensor.zeros(shape, { dtype, device })
  const [q8, q, k8, k] = [zeros([2, 3, 4, 8], 'float8_e4m3'), zeros([2, 3, 4, 8], 'float32'), zeros([2, 5, 2, 8], 'float8_e4m3'), zeros([2, 5, 2, 8], 'float32')]
  const ones = (shape: readonly number[]): Tensor<'float32'> => Tensor.from(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape)
  type Call = Parameters<typeof flashAttention>
  it.each<[string, Call, ExpectedError]>([
    ['queries alone', [q8, k, k], argumentError('k', 'the dtype of q (float8_e4m3)', 'float32')],
    ['keys alone', [q, k8, k], argumentError('v', 'the dtype of k (float8_e4m3)', 'float32')],
    ['queryScales of float32', [q, k8, k8, { queryScales: ones([2]) }], argumentError('options.queryScales', 'no scales where q is float32, not float8_e4m3', 'a tensor')],
    ['keyScales of float32', [q, k, k, { keyScales: ones([2]) }], argumentError('options.keyScales', 'no scales where k is float32, not float8_e4m3', 'a tensor')],
    ['valueScales of float32', [q, k, k, { valueScales: ones([2]) }], argumentError('options.valueScales', 'no scales where v is float32, not float8_e4m3', 'a tensor')],
    ['scales per query head', [q8, k8, k8, { queryScales: ones([4]) }], argumentError('options.queryScales', 'numKvHeads (axis 0) to be 2', '[4]', 'SHAPE_MISMATCH')],
    ['scales of another batch', [q8, k8, k8, { keyScales: ones([3, 2]) }], argumentError('options.keyScales', 'batch (axis 0) to be 2', '[3, 2]', 'SHAPE_MISMATCH')],
    ['scales of rank 3', [q8, k8, k8, { valueScales: ones([1, 2, 2]) }],
      argumentError('options.valueScales', 'shape [numKvHeads] or [batch, numKvHeads]', '[1, 2, 2]', 'SHAPE_MISMATCH')],
    ['scales in bfloat16', [q8, k8, k8, { keyScales: zeros([2], 'bfloat16') as never }], argumentError('options.keyScales', 'dtype float32', 'bfloat16')],
    ['scales that are no tensor', [q8, k8, k8, { keyScales: [1, 1] as never }], argumentError('options.keyScales', 'a Tensor', '[1, 1]')],
    ['a dtype beside float32', [q, k, k, { dtype: 'bfloat16' }], argumentError('options.dtype', 'none where q is float32: out has q\'s', 'bfloat16')],
    ['out in float8_e4m3', [q8, k8, k8, { out: zeros([2, 3, 4, 8], 'float8_e4m3') }],
      argumentError('options.out', 'dtype float32, float16 or bfloat16', 'float8_e4m3')],
    ['out of another dtype than dtype', [q8, k8, k8, { out: zeros([2, 3, 4, 8], 'float32'), dtype: 'bfloat16' }],
      argumentError('options.out', 'dtype bfloat16', 'float32')],
    ['dtype float8_e4m3', [q8, k8, k8, { dtype: 'float8_e4m3' as never }], argumentError('options.dtype', "'float32' or 'float16' or 'bfloat16'", "'float8_e4m3'")],
  ])('%s', (_, call, expected) => {
    expectError(() => flashAttention(...call), expected)
  })

  it('out over its scales', () => {
    const memory = Tensor.zeros([2 * 3 * 4 * 8])
    const [out, scales] = [memory.reshape([2, 3, 4, 8]), memory.slice(0, 10, 12)]
    expectError(() => flashAttention(q8, k8, k8, { out, keyScales: scales }), argumentError('options.out', 'memory that does not overlap an input', 'overlapping memory'))
  })
})

for (const device of [...caches.refusing, ...queries.refusing]) {
  test(`float8_e4m3 has no kernel on ${device} yet: refused, row by row`, () => {
    for (const dtype of ['float8_e4m3', 'bfloat16'] as const) {
      if ((dtype === 'bfloat16' ? caches : queries).able.includes(device)) continue
      for (const qoLen of [1, 100]) {
        const { q, k, v, options } = makeCall(attentionCase({ qoLen, kvLen: 130 }), dtype, 'per head', device)
        expectRefusal(() => flashAttention(q, k, v, options))
      }
    }
  })
}
