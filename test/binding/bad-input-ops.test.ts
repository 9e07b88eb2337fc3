import { linear, mergeStates, quantizeFloat8, rmsNorm, rope, Tensor, type DType, type Shape } from '../../lib/index'
import { argumentError, expectError, type ExpectedError } from '../support/errors'
import { foreignTensors } from '../support/foreign'

/** The arguments of a call and what it throws. */
type Row = readonly [title: string, args: readonly unknown[], error: ExpectedError]
type Loose = (...args: readonly unknown[]) => unknown

const zeros = (shape: Shape, dtype: DType = 'float32'): Tensor => Tensor.zeros(shape, { dtype })
const mismatch = (argument: string, expected: string, received: string): ExpectedError => argumentError(argument, expected, received, 'SHAPE_MISMATCH')
const floats = 'dtype float32, float16 or bfloat16'
const overlap = (other: string): ExpectedError => argumentError('options.out', `memory that does not overlap ${other}`, 'overlapping memory')

describe('linear refuses', () => {
  const call = linear as unknown as Loose
  const [x, weight] = [zeros([2, 3, 8]), zeros([5, 8])]
  const memory = zeros([100])
  it.each<Row>([
    ['a scalar x', [zeros([]), weight], mismatch('x', 'shape [.., inFeatures]', '[]')],
    ['a weight of rank 1', [x, zeros([8])], mismatch('weight', 'shape [outFeatures, inFeatures]', '[8]')],
    ['a weight of other features', [x, zeros([5, 7])], mismatch('weight', 'inFeatures (axis 1) to be 8', '[5, 7]')],
    ['a transposed weight', [x, zeros([8, 5])], mismatch('weight', 'inFeatures (axis 1) to be 8', '[8, 5]')],
    ['x in int32', [zeros([3, 8], 'int32'), weight], argumentError('x', floats, 'int32')],
    ['a weight in float8_e4m3', [x, zeros([5, 8], 'float8_e4m3')], argumentError('weight', floats, 'float8_e4m3')],
    ['a bias of other features', [x, weight, { bias: zeros([8]) }], mismatch('options.bias', 'outFeatures (axis 0) to be 5', '[8]')],
    ['a bias of rank 2', [x, weight, { bias: zeros([1, 5]) }], mismatch('options.bias', 'shape [outFeatures]', '[1, 5]')],
    ['a bias in int32', [x, weight, { bias: zeros([5], 'int32') }], argumentError('options.bias', floats, 'int32')],
    ['an out of another shape', [x, weight, { out: zeros([6, 5]) }], mismatch('options.out', 'shape [2, 3, 5]', '[6, 5]')],
    ['an out of another dtype', [x, weight, { out: zeros([2, 3, 5], 'float16') }], argumentError('options.out', 'the dtype of x (float32)', 'float16')],
    ['an out over x', [memory.slice(0, 0, 48).reshape([2, 3, 8]), weight, { out: memory.slice(0, 40, 70).reshape([2, 3, 5]) }], overlap('x')],
    ['an out over the weight', [x, memory.slice(0, 0, 40).reshape([5, 8]), { out: memory.slice(0, 39, 69).reshape([2, 3, 5]) }], overlap('weight')],
    ['an out over the bias', [x, weight, { bias: memory.slice(0, 0, 5), out: memory.slice(0, 4, 34).reshape([2, 3, 5]) }], overlap('bias')],
    ['an unknown option', [x, weight, { Bias: x }], argumentError('options', 'options among bias, out', "unknown option 'Bias'")],
    ['a null bias', [x, weight, { bias: null }], argumentError('options.bias', 'a Tensor', 'null')],
  ])('%s', (_, args, error) => expectError(() => call(...args), error))
})

describe('rmsNorm refuses', () => {
  const call = rmsNorm as unknown as Loose
  const [x, weight] = [zeros([3, 8]), zeros([8])]
  const memory = zeros([100])
  it.each<Row>([
    ['a scalar', [zeros([]), weight], mismatch('x', 'shape [.., width]', '[]')],
    ['a weight of another width', [x, zeros([7])], mismatch('weight', 'width (axis 0) to be 8', '[7]')],
    ['a weight of rank 2', [x, zeros([1, 8])], mismatch('weight', 'shape [width]', '[1, 8]')],
    ['x in int32', [zeros([3, 8], 'int32'), weight], argumentError('x', floats, 'int32')],
    ['a weight in int32', [x, zeros([8], 'int32')], argumentError('weight', floats, 'int32')],
    ['eps 0', [x, weight, { eps: 0 }], argumentError('options.eps', 'a finite number above 0', '0')],
    ['a negative eps', [x, weight, { eps: -1e-6 }], argumentError('options.eps', 'a finite number above 0', '-0.000001')],
    ['a NaN eps', [x, weight, { eps: NaN }], argumentError('options.eps', 'a finite number above 0', 'NaN')],
    ['eps as a string', [x, weight, { eps: '1e-6' }], argumentError('options.eps', 'a finite number above 0', "'1e-6'")],
    ['an unknown option', [x, weight, { epsilon: 1 }], argumentError('options', 'options among eps, out', "unknown option 'epsilon'")],
    ['an out of another shape', [x, weight, { out: zeros([8, 3]) }], mismatch('options.out', 'shape [3, 8]', '[8, 3]')],
    ['an out half over x', [memory.slice(0, 0, 24).reshape([3, 8]), weight, { out: memory.slice(0, 8, 32).reshape([3, 8]) }], overlap('x')],
    ['an out over the weight', [x, memory.slice(0, 0, 8), { out: memory.slice(0, 4, 28).reshape([3, 8]) }], overlap('weight')],
  ])('%s', (_, args, error) => expectError(() => call(...args), error))
})

describe('quantizeFloat8 refuses', () => {
  const call = quantizeFloat8 as unknown as Loose
  const x = zeros([2, 3, 4, 8])
  const packed = zeros([6, 4, 8])
  const [codes, scales] = [zeros([2, 3, 4, 8], 'float8_e4m3'), zeros([2, 4])]
  const rows = 'shape [batch, len, numHeads, dim] or [total, numHeads, dim]'
  const memory = zeros([200])
  const part = (name: 'codes' | 'scales', other: string): ExpectedError => argumentError(`options.out.${name}`, `memory that does not overlap ${other}`, 'overlapping memory')
  it.each<Row>([
    ['x of rank 2', [zeros([3, 8])], mismatch('x', rows, '[3, 8]')],
    ['x of rank 5', [zeros([1, 2, 3, 4, 8])], mismatch('x', rows, '[1, 2, 3, 4, 8]')],
    ['x in int32', [zeros([2, 3, 4, 8], 'int32')], argumentError('x', floats, 'int32')],
    ['x in float8_e4m3', [codes], argumentError('x', floats, 'float8_e4m3')],
    ['a group that does not divide the heads', [x, { groupSize: 3 }], argumentError('options.groupSize', 'a divisor of numHeads (4)', '3')],
    ['a group of more than the heads', [x, { groupSize: 8 }], argumentError('options.groupSize', 'a divisor of numHeads (4)', '8')],
    ['a group of 0', [x, { groupSize: 0 }], argumentError('options.groupSize', 'an integer of at least 1', '0')],
    ['half a head', [x, { groupSize: 0.5 }], argumentError('options.groupSize', 'an integer of at least 1', '0.5')],
    ['a huge group', [x, { groupSize: 2 ** 53 }], argumentError('options.groupSize', 'an integer of at least 1', '9007199254740992')],
    ['indptr beside a batch', [x, { indptr: [0, 3] }], mismatch('x', 'shape [total, numHeads, dim]', '[2, 3, 4, 8]')],
    ['an indptr that ends too early', [packed, { indptr: [0, 5] }], argumentError('options.indptr', 'the rows of x (6) as its last integer', '5')],
    ['an indptr that falls', [packed, { indptr: [0, 4, 3, 6] }], argumentError('options.indptr', 'integers that never fall', '4 then 3 at index 2')],
    ['an indptr that starts at 1', [packed, { indptr: [1, 6] }], argumentError('options.indptr', 'integers that start at 0', '1')],
    ['an empty indptr', [packed, { indptr: [] }], argumentError('options.indptr', 'batch + 1 integers that start at 0', 'no integers')],
    ['an indptr of fractions', [packed, { indptr: [0, 5.5, 6] }], argumentError('options.indptr[1]', 'an integer from 0 to 2147483647', '5.5')],
    ['an indptr that is no array', [packed, { indptr: 6 }], argumentError('options.indptr', 'an array of integers', '6')],
    ['an unknown option', [x, { groups: 2 }], argumentError('options', 'options among groupSize, indptr, out', "unknown option 'groups'")],
    ['an out that is a tensor alone', [x, { out: codes }], argumentError('options.out', 'options among codes, scales', "unknown option 'dtype'")],
    ['an out without scales', [x, { out: { codes } }], argumentError('options.out.scales', 'a Tensor', 'undefined')],
    ['an out of more', [x, { out: { codes, scales, zeros: x } }], argumentError('options.out', 'options among codes, scales', "unknown option 'zeros'")],
    ['codes of another shape', [x, { out: { codes: zeros([2, 3, 8, 4], 'float8_e4m3'), scales } }], mismatch('options.out.codes', 'shape [2, 3, 4, 8]', '[2, 3, 8, 4]')],
    ['codes of another dtype', [x, { out: { codes: zeros([2, 3, 4, 8]), scales } }], argumentError('options.out.codes', 'dtype float8_e4m3', 'float32')],
    ['scales of another group', [x, { groupSize: 2, out: { codes, scales } }], mismatch('options.out.scales', 'shape [2, 2]', '[2, 4]')],
    ['scales of another dtype', [x, { out: { codes, scales: zeros([2, 4], 'bfloat16') } }], argumentError('options.out.scales', 'dtype float32', 'bfloat16')],
    ['scales over x', [memory.slice(0, 0, 192).reshape([2, 3, 4, 8]), { out: { codes, scales: memory.slice(0, 190, 198).reshape([2, 4]) } }], part('scales', 'x')],
  ])('%s', (_, args, error) => expectError(() => call(...args), error))
})

describe('rope refuses', () => {
  const call = rope as unknown as Loose
  const x = zeros([2, 3, 4, 8])
  const config = { interleaved: true }
  const memory = zeros([300])
  const yarn = { type: 'yarn', factor: 2, originalMaxPositions: 64 }
  const llama3 = { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 64 }
  const positive = (key: string, received: string): ExpectedError => argumentError(`config.scaling.${key}`, 'a finite number above 0', received)
  it.each<Row>([
    ['x of rank 3', [zeros([2, 3, 8]), config], mismatch('x', 'shape [batch, len, numHeads, dim]', '[2, 3, 8]')],
    ['x in int32', [zeros([2, 3, 4, 8], 'int32'), config], argumentError('x', floats, 'int32')],
    ['no config', [x], argumentError('config.interleaved', 'true or false', 'undefined')],
    ['no pairing', [x, {}], argumentError('config.interleaved', 'true or false', 'undefined')],
    ['an unknown key', [x, { ...config, base: 1 }], argumentError('config', 'options among theta, interleaved, scaling', "unknown option 'base'")],
    ['theta 0', [x, { ...config, theta: 0 }], argumentError('config.theta', 'a finite number above 0', '0')],
    ['an infinite theta', [x, { ...config, theta: Infinity }], argumentError('config.theta', 'a finite number above 0', 'Infinity')],
    ['an unknown scaling', [x, { ...config, scaling: { type: 'dynamic', factor: 2 } }], argumentError('config.scaling.type', "'linear' or 'llama3' or 'yarn'", "'dynamic'")],
    ['null as scaling', [x, { ...config, scaling: null }], argumentError('config.scaling', 'a scaling object', 'null')],
    ['a scaling without factor', [x, { ...config, scaling: { type: 'linear' } }], positive('factor', 'undefined')],
    ['factor 0', [x, { ...config, scaling: { type: 'linear', factor: 0 } }], positive('factor', '0')],
    ['a key of another scaling', [x, { ...config, scaling: { type: 'linear', factor: 2, betaFast: 1 } }], argumentError('config.scaling', 'options among type, factor', "unknown option 'betaFast'")],
    ['llama3 without its length', [x, { ...config, scaling: { ...llama3, originalMaxPositions: undefined } }], positive('originalMaxPositions', 'undefined')],
    ['llama3 with crossed factors', [x, { ...config, scaling: { ...llama3, lowFreqFactor: 4 } }], argumentError('config.scaling.highFreqFactor', 'a number above lowFreqFactor (4)', '4')],
    ['a negative beta', [x, { ...config, scaling: { ...yarn, betaFast: -1 } }], positive('betaFast', '-1')],
    ['a NaN mscale', [x, { ...config, scaling: { ...yarn, mscale: NaN } }], argumentError('config.scaling.mscale', 'a finite number', 'NaN')],
    ['an odd dim', [x, config, { dim: 3 }], argumentError('options.dim', 'an even number from 2 to the width of x (8)', '3')],
    ['a dim beyond the width', [x, config, { dim: 10 }], argumentError('options.dim', 'an even number from 2 to the width of x (8)', '10')],
    ['dim 0', [x, config, { dim: 0 }], argumentError('options.dim', 'an integer of at least 2', '0')],
    ['an odd width', [zeros([1, 1, 1, 5]), config], argumentError('options.dim', 'an even number from 2 to the width of x (5)', '5')],
    ['positions as an array', [x, config, { positions: [0, 1, 2] }], argumentError('options.positions', 'a Tensor', '[0, 1, 2]')],
    ['positions as floats', [x, config, { positions: zeros([2, 3]) }], argumentError('options.positions', 'dtype int32', 'float32')],
    ['positions of rank 1', [x, config, { positions: zeros([3], 'int32') }], mismatch('options.positions', 'shape [batch, len]', '[3]')],
    ['positions of another length', [x, config, { positions: zeros([2, 4], 'int32') }], mismatch('options.positions', 'len (axis 1) to be 3', '[2, 4]')],
    ['an unknown option', [x, config, { offset: 1 }], argumentError('options', 'options among positions, dim, out', "unknown option 'offset'")],
    ['an out of another dtype', [x, config, { out: zeros([2, 3, 4, 8], 'bfloat16') }], argumentError('options.out', 'the dtype of x (float32)', 'bfloat16')],
    ['an out half over x', [memory.slice(0, 0, 192).reshape([2, 3, 4, 8]), config, { out: memory.slice(0, 8, 200).reshape([2, 3, 4, 8]) }], overlap('x')],
  ])('%s', (_, args, error) => expectError(() => call(...args), error))
})

describe('mergeStates refuses', () => {
  const call = mergeStates as unknown as Loose
  const state = { out: zeros([2, 3, 4, 8]), lse: zeros([2, 4, 3]) }
  it.each<Row>([
    ['no array', [state], argumentError('states', 'an array of states', 'an object')],
    ['no state', [[]], argumentError('states', 'at least one state', 'none')],
    ['an empty slot', [[state, undefined]], argumentError('states[1].out', 'a Tensor', 'undefined')],
    ['null', [[null]], argumentError('states[0].out', 'a Tensor', 'undefined')],
    ['a state without lse', [[{ out: state.out }]], argumentError('states[0].lse', 'a Tensor', 'undefined')],
    ['outs of other shapes', [[state, { ...state, out: zeros([2, 3, 4, 7]) }]], mismatch('states[1].out', 'the shape of states[0].out [2, 3, 4, 8]', '[2, 3, 4, 7]')],
    ['outs of other dtypes', [[state, { ...state, out: zeros([2, 3, 4, 8], 'float16') }]], argumentError('states[1].out', 'the dtype of states[0].out (float32)', 'float16')],
    ['lse in the order of out', [[{ ...state, lse: zeros([2, 3, 4]) }]], mismatch('states[0].lse', '[batch, numQoHeads, qoLen] [2, 4, 3]', '[2, 3, 4]')],
    ['lse in bfloat16', [[{ ...state, lse: zeros([2, 4, 3], 'bfloat16') }]], argumentError('states[0].lse', 'dtype float32', 'bfloat16')],
    ['outs of rank 2', [[{ out: zeros([3, 8]), lse: zeros([3]) }]],
      mismatch('states[0].out', 'shape [batch, qoLen, numQoHeads, headDimVo] or [totalQo, numQoHeads, headDimVo]', '[3, 8]')],
    ['outs in int32', [[{ ...state, out: zeros([2, 3, 4, 8], 'int32') }]], argumentError('states[0].out', floats, 'int32')],
  ])('%s', (_, args, error) => expectError(() => call(...args), error))
})

describe('foreign and disposed tensors', () => {
  const [x, weight] = [zeros([3, 8]), zeros([8, 8])]
  it.each(foreignTensors())('%s is refused by every op', (_, value, received) => {
    const foreign = (argument: string): ExpectedError => argumentError(argument, 'a Tensor', received)
    const loose = { linear, quantizeFloat8, rmsNorm, rope, mergeStates } as unknown as Readonly<Record<string, Loose>>
    expectError(() => loose.linear!(value, weight), foreign('x'))
    expectError(() => loose.linear!(x, value), foreign('weight'))
    expectError(() => loose.rmsNorm!(value, weight), foreign('x'))
    expectError(() => loose.rmsNorm!(x, value), foreign('weight'))
    expectError(() => loose.quantizeFloat8!(value), foreign('x'))
    expectError(() => loose.quantizeFloat8!(x, { out: { codes: value, scales: x } }), foreign('options.out.codes'))
    expectError(() => loose.rope!(value, { interleaved: true }), foreign('x'))
    expectError(() => loose.mergeStates!([{ out: value, lse: x }]), foreign('states[0].out'))
    expectError(() => loose.mergeStates!([{ out: x, lse: value }]), foreign('states[0].lse'))
  })

  it('a disposed tensor is refused by every op', () => {
    const gone = Tensor.zeros([8, 8])
    gone.dispose()
    const disposed = (argument: string): ExpectedError => argumentError(argument, 'a live tensor', 'a disposed tensor', 'DISPOSED')
    const float = x as Tensor<'float32'>
    expectError(() => linear(gone, float), disposed('x'))
    expectError(() => linear(float, float, { bias: gone }), disposed('options.bias'))
    expectError(() => rmsNorm(float, gone), disposed('weight'))
    expectError(() => quantizeFloat8(gone), disposed('x'))
    expectError(() => rope(gone, { interleaved: true }), disposed('x'))
    expectError(() => mergeStates([{ out: float, lse: gone }]), disposed('states[0].lse'))
  })
})
