import { MlaKvCache, mlaDecode, pagedAttention, PagedKvCache, Tensor, type DType, type Shape } from '../../lib/index'
import { argumentError, expectError, type ExpectedError } from '../support/errors'

/** The arguments of a call and what it throws. */
type Row = readonly [title: string, args: readonly unknown[], error: ExpectedError]
type Loose = (...args: readonly unknown[]) => unknown

const zeros = (shape: Shape, dtype: DType = 'float32'): never => Tensor.zeros(shape, { dtype }) as never
const mismatch = (argument: string, expected: string, received: string): ExpectedError => argumentError(argument, expected, received, 'SHAPE_MISMATCH')

const cache = new PagedKvCache({ numPages: 4, numKvHeads: 2, headDimQk: 8, headDimVo: 6 })
const sequence = cache.open()
cache.append([sequence], zeros([1, 5, 2, 8]), zeros([1, 5, 2, 6]))
const batch = cache.batch([sequence])
const other = new PagedKvCache({ numPages: 4, numKvHeads: 2, headDimQk: 8, headDimVo: 6 })
const otherBatch = other.batch([other.open()])
const gone = cache.batch([sequence])
gone[Symbol.dispose]()
const closed = new PagedKvCache({ numPages: 1, numKvHeads: 2, headDimQk: 8 })
const closedBatch = closed.batch([])
closed.dispose()

const q = zeros([1, 2, 4, 8])
const paged = pagedAttention as unknown as Loose
const plan = pagedAttention.plan(cache, batch, { qoLen: 2, numQoHeads: 4 })
const usedPlan = pagedAttention.plan(cache, batch, { qoLen: 2, numQoHeads: 4 })
usedPlan[Symbol.dispose]()

describe('pagedAttention refuses', () => {
  it.each<Row>([
    ['no cache', [q, undefined, batch], argumentError('cache', 'a PagedKvCache', 'undefined')],
    ['an object like a cache', [q, { keys: cache.keys, values: cache.values, stats: cache.stats }, batch], argumentError('cache', 'a PagedKvCache', 'an object')],
    ['an object with the prototype', [q, Object.create(PagedKvCache.prototype), batch], argumentError('cache', 'a PagedKvCache', 'a PagedKvCache')],
    ['a disposed cache', [q, closed, closedBatch], argumentError('cache', 'a live PagedKvCache', 'a disposed one', 'DISPOSED')],
    ['no batch', [q, cache], argumentError('batch', "a PageBatch made by the cache's batch()", 'undefined')],
    ['a forged batch', [q, cache, { pageTable: batch.pageTable, kvLens: batch.kvLens, batchSize: 1 }], argumentError('batch', "a PageBatch made by the cache's batch()", 'an object')],
    ['a batch of another cache', [q, cache, otherBatch], argumentError('batch', 'a batch of this cache', 'a batch of another cache')],
    ['a disposed batch', [q, cache, gone], argumentError('batch', 'a live PageBatch', 'a disposed one', 'DISPOSED')],
    ['q of another batch', [zeros([2, 2, 4, 8]), cache, batch], mismatch('pageTable', 'batch (axis 0) to be 2', '[1, 1]')],
    ['q of another head dim', [zeros([1, 2, 4, 6]), cache, batch], mismatch('keys', 'headDimQk of q (6)', '8')],
    ['heads that do not divide', [zeros([1, 2, 3, 8]), cache, batch], mismatch('keys', 'numKvHeads to divide numQoHeads (3)', '2')],
    ['q of rank 3', [zeros([1, 4, 8]), cache, batch], mismatch('q', 'shape [batch, qoLen, numQoHeads, headDimQk]', '[1, 4, 8]')],
    ['kvLens', [q, cache, batch, { kvLens: zeros([1], 'int32') }],
      argumentError('options', 'options among causal, window, softmaxScale, logitSoftcap, alibiSlopes, sinks, returnLse, out, queryScales, dtype, plan',
        "unknown option 'kvLens'")],
    ['an out within the cache', [q, cache, batch, { out: cache.values.slice(0, 0, 1).slice(1, 0, 4).reshape([1, 2, 4, 6]) }],
      argumentError('options.out', 'memory that does not overlap an input', 'overlapping memory')],
    ['a forged plan', [q, cache, batch, { plan: { kernel: 'x', numSplits: 1, workspaceBytes: 0 } }], argumentError('options.plan', 'a plan made by pagedAttention.plan()', 'an object')],
    ['a disposed plan', [q, cache, batch, { plan: usedPlan }], argumentError('options.plan', 'a live plan', 'a disposed one', 'DISPOSED')],
    ['a plan for another shape', [zeros([1, 1, 4, 8]), cache, batch, { plan }], argumentError('options.plan', 'a plan for qoLen 1', 'one for qoLen 2')],
  ])('%s', (_, args, error) => expectError(() => paged(...args), error))

  it.each<Row>([
    ['a negative length', [{ qoLen: -1, numQoHeads: 4 }], argumentError('shape.qoLen', 'an integer from 0 to 2147483647', '-1')],
    ['fractional heads', [{ qoLen: 1, numQoHeads: 0.5 }], argumentError('shape.numQoHeads', 'an integer from 1 to 2147483647', '0.5')],
    ['heads that do not divide', [{ qoLen: 1, numQoHeads: 3 }], mismatch('keys', 'numKvHeads to divide numQoHeads (3)', '2')],
    ['an unknown key', [{ qoLen: 1, numQoHeads: 4, dtype: 'x' }], argumentError('shape', 'options among qoLen, numQoHeads', "unknown option 'dtype'")],
  ])('a plan of %s', (_, [shape], error) => expectError(() => pagedAttention.plan(cache, batch, shape as never), error))
})

const mlaCache = new MlaKvCache({ numPages: 2, kvLoraRank: 16, qkRopeHeadDim: 4 })
const mlaSequence = mlaCache.open()
mlaCache.append([mlaSequence], zeros([1, 3, 16]), zeros([1, 3, 4]))
const mlaBatch = mlaCache.batch([mlaSequence])
const [qNope, qPe] = [zeros([1, 2, 4, 16]), zeros([1, 2, 4, 4])]
const mla = mlaDecode as unknown as Loose
const scale = { softmaxScale: 0.1 }

describe('mlaDecode refuses', () => {
  it.each<Row>([
    ['a cache of keys and values', [qNope, qPe, cache, batch, scale], argumentError('cache', 'a MlaKvCache', 'a PagedKvCache')],
    ['a batch of another cache', [qNope, qPe, mlaCache, batch, scale], argumentError('batch', 'a batch of this cache', 'a batch of another cache')],
    ['no scale', [qNope, qPe, mlaCache, mlaBatch, {}], argumentError('options.softmaxScale', 'a finite number', 'undefined')],
    ['no options', [qNope, qPe, mlaCache, mlaBatch], argumentError('options.softmaxScale', 'a finite number', 'undefined')],
    ['a NaN scale', [qNope, qPe, mlaCache, mlaBatch, { softmaxScale: NaN }], argumentError('options.softmaxScale', 'a finite number', 'NaN')],
    ['a window', [qNope, qPe, mlaCache, mlaBatch, { ...scale, window: { left: 1 } }],
      argumentError('options', 'options among softmaxScale, causal, returnLse, plan, out', "unknown option 'window'")],
    ['qNope of rank 3', [zeros([2, 4, 16]), qPe, mlaCache, mlaBatch, scale], mismatch('qNope', 'shape [batch, qoLen, numHeads, kvLoraRank]', '[2, 4, 16]')],
    ['qPe of other heads', [qNope, zeros([1, 2, 3, 4]), mlaCache, mlaBatch, scale], mismatch('qPe', 'the shape of qNope [1, 2, 4, 16] up to the last axis', '[1, 2, 3, 4]')],
    ['qPe of another dtype', [qNope, zeros([1, 2, 4, 4], 'float16'), mlaCache, mlaBatch, scale], argumentError('qPe', 'the dtype of qNope (float32)', 'float16')],
    ['parts that do not add up to a cache row', [zeros([1, 2, 4, 12]), qPe, mlaCache, mlaBatch, scale],
      mismatch('qNope', "kvLoraRank + qkRopeHeadDim to be the cache's row width (20)", '12 + 4')],
    ['q of another batch', [zeros([2, 2, 4, 16]), zeros([2, 2, 4, 4]), mlaCache, mlaBatch, scale], mismatch('pageTable', 'batch (axis 0) to be 2', '[1, 1]')],
    ['an out of another shape', [qNope, qPe, mlaCache, mlaBatch, { ...scale, out: zeros([1, 2, 4, 20]) }], mismatch('options.out', 'shape [1, 2, 4, 16]', '[1, 2, 4, 20]')],
    ['a plan of another op', [qNope, qPe, mlaCache, mlaBatch, { ...scale, plan }], argumentError('options.plan', 'a plan made by mlaDecode.plan()', 'one made by pagedAttention.plan()')],
  ])('%s', (_, args, error) => expectError(() => mla(...args), error))
})
