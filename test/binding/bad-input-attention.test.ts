import { flashAttention, flashAttentionVarlen, Tensor, UnsupportedError, type DType, type Shape } from '../../lib/index'
import { argumentError, expectError, type ExpectedError } from '../support/errors'
import { foreignTensors } from '../support/foreign'

/** The arguments of a call and what it throws. */
type Row = readonly [title: string, args: readonly unknown[], error: ExpectedError]

const zeros = (shape: Shape, dtype: DType = 'float32'): never => Tensor.zeros(shape, { dtype }) as never
const mismatch = (argument: string, expected: string, received: string): ExpectedError => argumentError(argument, expected, received, 'SHAPE_MISMATCH')

const [q, k, v] = [zeros([2, 3, 4, 8]), zeros([2, 5, 2, 8]), zeros([2, 5, 2, 6])]
const withOptions = (options: object): readonly unknown[] => [q, k, v, options]
const refuse = (args: readonly unknown[], error: ExpectedError): void =>
  expectError(() => (flashAttention as unknown as (...args: readonly unknown[]) => unknown)(...args), error)

const shapeRows: readonly Row[] = [
  ['q of rank 3', [zeros([2, 3, 8]), k, v], mismatch('q', 'shape [batch, qoLen, numQoHeads, headDimQk]', '[2, 3, 8]')],
  ['k of rank 5', [q, zeros([1, 2, 5, 2, 8]), v], mismatch('k', 'shape [batch, kvLen, numKvHeads, headDimQk]', '[1, 2, 5, 2, 8]')],
  ['v of rank 0', [q, k, zeros([])], mismatch('v', 'shape [batch, kvLen, numKvHeads, headDimVo]', '[]')],
  ['batches that differ', [q, zeros([3, 5, 2, 8]), zeros([3, 5, 2, 6])], mismatch('k', 'batch (axis 0) to be 2', '[3, 5, 2, 8]')],
  ['heads that do not divide', [zeros([2, 3, 8, 8]), zeros([2, 5, 3, 8]), zeros([2, 5, 3, 6])], mismatch('k', 'numKvHeads to divide numQoHeads (8)', '3')],
  ['more kv heads than query heads', [zeros([2, 3, 1, 8]), k, v], mismatch('k', 'numKvHeads to divide numQoHeads (1)', '2')],
  ['no kv heads', [q, zeros([2, 5, 0, 8]), zeros([2, 5, 0, 6])], mismatch('k', 'numKvHeads from 1 to 2147483647', '0')],
  ['no query heads', [zeros([2, 3, 0, 8]), k, v], mismatch('q', 'numQoHeads from 1 to 2147483647', '0')],
  ['no features', [zeros([2, 3, 4, 0]), zeros([2, 5, 2, 0]), v], mismatch('q', 'headDimQk from 1 to 2147483647', '0')],
  ['no features of v', [q, k, zeros([2, 5, 2, 0])], mismatch('v', 'headDimVo from 1 to 2147483647', '0')],
  ['head dims of q and k that differ', [q, zeros([2, 5, 2, 7]), v], mismatch('k', 'headDimQk of q (8)', '7')],
  ['lengths of k and v that differ', [q, k, zeros([2, 4, 2, 6])], mismatch('v', 'the shape of k [2, 5, 2, 8] up to the last axis', '[2, 4, 2, 6]')],
  ['heads of k and v that differ', [q, k, zeros([2, 5, 1, 6])], mismatch('v', 'the shape of k [2, 5, 2, 8] up to the last axis', '[2, 5, 1, 6]')],
]

const dtypeRows: readonly Row[] = [
  ['q in int32', [zeros([2, 3, 4, 8], 'int32'), k, v], argumentError('q', 'dtype float32, float16, bfloat16 or float8_e4m3', 'int32')],
  ['k in int32', [q, zeros([2, 5, 2, 8], 'int32'), v], argumentError('k', 'dtype float32, float16, bfloat16 or float8_e4m3', 'int32')],
  ['k in float8_e4m3 alone', [q, zeros([2, 5, 2, 8], 'float8_e4m3'), v], argumentError('v', 'the dtype of k (float8_e4m3)', 'float32')],
  ['v unlike k', [q, k, zeros([2, 5, 2, 6], 'float16')], argumentError('v', 'the dtype of k (float32)', 'float16')],
]

const common = 'causal, window, softmaxScale, logitSoftcap, alibiSlopes, sinks, returnLse, out, queryScales, dtype'
const words = `options among ${common}, keyScales, valueScales, kvLens`
const optionRows: readonly Row[] = [
  ['no object', withOptions(5 as unknown as object), argumentError('options', 'an options object', '5')],
  ['an array', withOptions([]), argumentError('options', 'an options object', '[]')],
  ['an unknown key', withOptions({ is_causal: true }), argumentError('options', words, "unknown option 'is_causal'")],
  ['an unknown key that is undefined', withOptions({ scale: undefined }), argumentError('options', words, "unknown option 'scale'")],
  ['causal as a number', withOptions({ causal: 1 }), argumentError('options.causal', 'true or false', '1')],
  ['returnLse as a string', withOptions({ returnLse: 'yes' }), argumentError('options.returnLse', 'true or false', "'yes'")],
  ['window as a number', withOptions({ window: 4 }), argumentError('options.window', 'an options object', '4')],
  ['an unknown side', withOptions({ window: { up: 4 } }), argumentError('options.window', 'options among left, right', "unknown option 'up'")],
  ['a negative window', withOptions({ window: { left: -1 } }), argumentError('options.window.left', 'an integer of at least 0', '-1')],
  ['a fractional window', withOptions({ window: { right: 0.5 } }), argumentError('options.window.right', 'an integer of at least 0', '0.5')],
  ['an infinite window', withOptions({ window: { left: Infinity } }), argumentError('options.window.left', 'an integer of at least 0', 'Infinity')],
  ['a NaN scale', withOptions({ softmaxScale: NaN }), argumentError('options.softmaxScale', 'a finite number', 'NaN')],
  ['an infinite scale', withOptions({ softmaxScale: -Infinity }), argumentError('options.softmaxScale', 'a finite number', '-Infinity')],
  ['a scale as a string', withOptions({ softmaxScale: '1' }), argumentError('options.softmaxScale', 'a finite number', "'1'")],
  ['a negative softcap', withOptions({ logitSoftcap: -1 }), argumentError('options.logitSoftcap', 'a finite number of at least 0', '-1')],
  ['a NaN softcap', withOptions({ logitSoftcap: NaN }), argumentError('options.logitSoftcap', 'a finite number', 'NaN')],
  ['slopes as an array', withOptions({ alibiSlopes: [1, 2, 3, 4] }), argumentError('options.alibiSlopes', 'a Tensor', '[1, 2, 3, 4]')],
  ['null slopes', withOptions({ alibiSlopes: null }), argumentError('options.alibiSlopes', 'a Tensor', 'null')],
  ['slopes for other heads', withOptions({ alibiSlopes: zeros([3]) }), mismatch('options.alibiSlopes', 'numQoHeads (axis 0) to be 4', '[3]')],
  ['slopes for other sequences', withOptions({ alibiSlopes: zeros([3, 4]) }), mismatch('options.alibiSlopes', 'batch (axis 0) to be 2', '[3, 4]')],
  ['slopes of rank 3', withOptions({ alibiSlopes: zeros([1, 2, 4]) }), mismatch('options.alibiSlopes', 'shape [numQoHeads] or [batch, numQoHeads]', '[1, 2, 4]')],
  ['slopes in bfloat16', withOptions({ alibiSlopes: zeros([4], 'bfloat16') }), argumentError('options.alibiSlopes', 'dtype float32', 'bfloat16')],
  ['sinks for other heads', withOptions({ sinks: zeros([2]) }), mismatch('options.sinks', 'numQoHeads (axis 0) to be 4', '[2]')],
  ['sinks of rank 2', withOptions({ sinks: zeros([2, 4]) }), mismatch('options.sinks', 'shape [numQoHeads]', '[2, 4]')],
  ['sinks in float16', withOptions({ sinks: zeros([4], 'float16') }), argumentError('options.sinks', 'dtype float32', 'float16')],
  ['kvLens as an array', withOptions({ kvLens: [5, 5] }), argumentError('options.kvLens', 'a Tensor', '[5, 5]')],
  ['kvLens for other sequences', withOptions({ kvLens: zeros([3], 'int32') }), mismatch('options.kvLens', 'batch (axis 0) to be 2', '[3]')],
  ['kvLens of rank 2', withOptions({ kvLens: zeros([2, 1], 'int32') }), mismatch('options.kvLens', 'shape [batch]', '[2, 1]')],
  ['kvLens as floats', withOptions({ kvLens: zeros([2]) }), argumentError('options.kvLens', 'dtype int32', 'float32')],
]

const memory = Tensor.zeros([2, 3, 4, 16])
const sinkMemory = Tensor.zeros([200])
const overlapping = memory.slice(3, 0, 8)
const outRows: readonly Row[] = [
  ['as an array', withOptions({ out: new Float32Array(144) }), argumentError('options.out', 'a Tensor', 'a Float32Array')],
  ['of another shape', withOptions({ out: zeros([2, 3, 4, 8]) }), mismatch('options.out', 'shape [2, 3, 4, 6]', '[2, 3, 4, 8]')],
  ['of another rank', withOptions({ out: zeros([6, 4, 6]) }), mismatch('options.out', 'shape [2, 3, 4, 6]', '[6, 4, 6]')],
  ['of another dtype', withOptions({ out: zeros([2, 3, 4, 6], 'bfloat16') }), argumentError('options.out', 'the dtype of q (float32)', 'bfloat16')],
  ['that is an input', [overlapping, k, v, { out: memory.slice(3, 0, 6) }], argumentError('options.out', 'memory that does not overlap an input', 'overlapping memory')],
  ['that overlaps an input', [overlapping, k, v, { out: memory.slice(3, 7, 13) }], argumentError('options.out', 'memory that does not overlap an input', 'overlapping memory')],
  ['that overlaps the sinks', [q, k, v, { out: sinkMemory.slice(0, 0, 144).reshape([2, 3, 4, 6]), sinks: sinkMemory.slice(0, 140, 144) }], argumentError('options.out', 'memory that does not overlap an input', 'overlapping memory')],
]

describe('flashAttention refuses', () => {
  it.each(shapeRows)('%s', (_, args, error) => refuse(args, error))
  it.each(dtypeRows)('%s', (_, args, error) => refuse(args, error))
  it.each(optionRows)('options: %s', (_, args, error) => refuse(args, error))
  it.each(outRows)('out %s', (_, args, error) => refuse(args, error))

  it.each(foreignTensors())('%s in place of any tensor', (_, value, received) => {
    for (const [argument, args] of [
      ['q', [value, k, v]], ['k', [q, value, v]], ['v', [q, k, value]],
      ...(['alibiSlopes', 'sinks', 'out', 'kvLens'] as const).filter(() => value !== undefined).map((key) => [`options.${key}`, withOptions({ [key]: value })] as const),
    ] as const) {
      refuse(args, argumentError(argument, 'a Tensor', received))
    }
  })

  it('disposed tensors', () => {
    const make = (shape: Shape, dtype: DType = 'float32'): Tensor => {
      const tensor = Tensor.zeros(shape, { dtype })
      tensor.dispose()
      return tensor
    }
    const disposed = (argument: string): ExpectedError => argumentError(argument, 'a live tensor', 'a disposed tensor', 'DISPOSED')
    refuse([make([2, 3, 4, 8]), k, v], disposed('q'))
    refuse([q, make([2, 5, 2, 8]), v], disposed('k'))
    refuse([q, k, make([2, 5, 2, 6])], disposed('v'))
    refuse(withOptions({ out: make([2, 3, 4, 6]) }), disposed('options.out'))
    refuse(withOptions({ sinks: make([4]) }), disposed('options.sinks'))
    refuse(withOptions({ kvLens: make([2], 'int32') }), disposed('options.kvLens'))
  })

  it('nothing at all', () => {
    refuse([], argumentError('q', 'a Tensor', 'undefined'))
  })
})

describe('flashAttention answers or refuses', () => {
  it.each([2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])('a window of %d: no key is hidden', (side) => {
    const ones = Tensor.from(new Float32Array(60).fill(1), [2, 5, 2, 3])
    const { out } = flashAttention(q, k, ones, { window: { left: side, right: side } })
    expect(out.readSync().every((value) => value === 1)).toBe(true)
  })

  it('tiny and huge scales and caps', () => {
    const random = Tensor.randn([1, 3, 2, 8], { seed: 1 })
    for (const options of [{ softmaxScale: 5e-324 }, { softmaxScale: 1e300 }, { softmaxScale: -0 }, { logitSoftcap: 1e-300 }, { logitSoftcap: 1e300 }]) {
      expect(flashAttention(random, random, random, options).out.readSync()).toHaveLength(48)
    }
  })
})

const packed = { q: zeros([6, 4, 8]), k: zeros([9, 2, 8]), v: zeros([9, 2, 6]) }
const withIndptr = (qoIndptr: unknown, kvIndptr: unknown, more: object = {}): readonly unknown[] => [packed.q, packed.k, packed.v, { qoIndptr, kvIndptr, ...more }]

describe('flashAttentionVarlen refuses', () => {
  it.each<Row>([
    ['no options', [packed.q, packed.k, packed.v], argumentError('options.qoIndptr', 'an array of integers', 'undefined')],
    ['no qoIndptr', withIndptr(undefined, [0, 9]), argumentError('options.qoIndptr', 'an array of integers', 'undefined')],
    ['no kvIndptr', withIndptr([0, 6], undefined), argumentError('options.kvIndptr', 'an array of integers', 'undefined')],
    ['an empty qoIndptr', withIndptr([], [0, 9]), argumentError('options.qoIndptr', 'batch + 1 integers that start at 0', 'no integers')],
    ['indptr that does not start at 0', withIndptr([1, 6], [0, 9]), argumentError('options.qoIndptr', 'integers that start at 0', '1')],
    ['indptr that falls', withIndptr([0, 4, 3, 6], [0, 1, 2, 9]), argumentError('options.qoIndptr', 'integers that never fall', '4 then 3 at index 2')],
    ['indptr that ends early', withIndptr([0, 5], [0, 9]), argumentError('options.qoIndptr', 'the rows of q (6) as its last integer', '5')],
    ['indptr that overruns', withIndptr([0, 6], [0, 10]), argumentError('options.kvIndptr', 'the rows of k (9) as its last integer', '10')],
    ['indptr that overruns and comes back', withIndptr([0, 6, 6], [0, 100, 9]), argumentError('options.kvIndptr', 'integers that never fall', '100 then 9 at index 2')],
    ['other numbers of sequences', withIndptr([0, 6], [0, 4, 9]), mismatch('options.kvIndptr', '2 items as in qoIndptr', '3')],
    ['negative numbers', withIndptr([0, -1, 6], [0, 1, 9]), argumentError('options.qoIndptr[1]', 'an integer from 0 to 2147483647', '-1')],
    ['fractions', withIndptr([0, 5.5, 6], [0, 1, 9]), argumentError('options.qoIndptr[1]', 'an integer from 0 to 2147483647', '5.5')],
    ['NaN', withIndptr([0, 6], [0, NaN]), argumentError('options.kvIndptr[1]', 'an integer from 0 to 2147483647', 'NaN')],
    ['numbers beyond 2^31', withIndptr([0, 6], [0, 2 ** 31]), argumentError('options.kvIndptr[1]', 'an integer from 0 to 2147483647', '2147483648')],
    ['an object that claims 2^40 integers', withIndptr({ length: 2 ** 40 }, [0, 9]), argumentError('options.qoIndptr', 'at most 16777216 integers', '1099511627776')],
    ['a tensor as indptr', withIndptr(zeros([2], 'int32'), [0, 9]), argumentError('options.qoIndptr', 'an array of integers', 'a Tensor')],
    ['kvLens', withIndptr([0, 6], [0, 9], { kvLens: zeros([1], 'int32') }),
      argumentError('options', `options among ${common}, keyScales, valueScales, qoIndptr, kvIndptr`, "unknown option 'kvLens'")],
    ['q of rank 4', [q, packed.k, packed.v, { qoIndptr: [0, 2], kvIndptr: [0, 9] }], mismatch('q', 'shape [totalQo, numQoHeads, headDimQk]', '[2, 3, 4, 8]')],
    ['slopes for other sequences', withIndptr([0, 6], [0, 9], { alibiSlopes: zeros([2, 4]) }), mismatch('options.alibiSlopes', 'sequences (axis 0) to be 1', '[2, 4]')],
    ['an out of another shape', withIndptr([0, 6], [0, 9], { out: zeros([6, 4, 8]) }), mismatch('options.out', 'shape [6, 4, 6]', '[6, 4, 8]')],
  ])('%s', (_, args, error) => {
    expectError(() => (flashAttentionVarlen as unknown as (...args: readonly unknown[]) => unknown)(...args), error)
  })
})

it('an UnsupportedError lists each kernel with its reason', () => {
  const error = new UnsupportedError('no kernel', [{ kernel: 'a', reason: 'b' }])
  expect(error).toMatchObject({ code: 'UNSUPPORTED', name: 'UnsupportedError', rejected: [{ kernel: 'a', reason: 'b' }] })
})
