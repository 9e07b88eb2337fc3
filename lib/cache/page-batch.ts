import { describeValue } from '../check'
import type { DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { Tensor, type IndexTensor } from '../tensor/tensor'
import type { SequenceOwner, SequenceState } from './sequence'

/**
 * Page tables and lengths of some sequences, frozen: later appends do not show in it. Made by a cache's `batch()`.
 * It may outlive its sequences: attention over it then reads whatever their pages hold by that time.
 */
export interface PageBatch extends Disposable {
  /** [batch, maxPages] int32, -1 where a sequence has no page. */
  readonly pageTable: IndexTensor
  /** [batch] int32 */
  readonly kvLens: IndexTensor
  readonly batchSize: number
  /** Idempotent. */
  dispose(): void
}

/** A batch with what an op needs to know about it on the host. */
export interface FrozenFacts {
  readonly pageTable: IndexTensor
  readonly kvLens: IndexTensor
  readonly batchSize: number
  readonly maxKvLen: number
  /** What kvLens holds. */
  readonly lens: Int32Array
}

// Kept outside the objects: a forged batch, whose pages might lie anywhere, is not in here.
const facts = new WeakMap<object, { readonly owner: SequenceOwner; readonly maxKvLen: number; readonly lens: Int32Array }>()

export function freezeBatch(owner: SequenceOwner, states: readonly SequenceState[], device: DeviceId): PageBatch {
  const maxPages = states.reduce((max, { pages }) => Math.max(max, pages.length), 1)
  const table = new Int32Array(states.length * maxPages).fill(-1)
  states.forEach(({ pages }, b) => table.set(pages, b * maxPages))
  const lens = Int32Array.from(states, ({ length }) => length)
  const pageTable = Tensor.fromBits(table, [states.length, maxPages], { dtype: 'int32', device })
  let batch: FrozenBatch
  try {
    batch = new FrozenBatch(pageTable, Tensor.fromBits(lens, [states.length], { dtype: 'int32', device }))
  } catch (error) {
    pageTable.dispose()
    throw error
  }
  facts.set(batch, { owner, maxKvLen: lens.reduce((max, len) => Math.max(max, len), 0), lens })
  return batch
}

/** A live batch of this owner, with its facts. */
export function pageBatchOf(argument: string, value: unknown, owner: SequenceOwner): FrozenFacts {
  const known = typeof value === 'object' && value !== null ? facts.get(value) : undefined
  if (known === undefined) throw new ArgumentError(argument, "a PageBatch made by the cache's batch()", describeValue(value))
  if (known.owner !== owner) throw new ArgumentError(argument, 'a batch of this cache', 'a batch of another cache')
  const { pageTable, kvLens, batchSize } = value as FrozenBatch
  if (pageTable.disposed || kvLens.disposed) throw new ArgumentError(argument, 'a live PageBatch', 'a disposed one', 'DISPOSED')
  return { pageTable, kvLens, batchSize, maxKvLen: known.maxKvLen, lens: known.lens }
}

class FrozenBatch implements PageBatch {
  readonly pageTable: IndexTensor
  readonly kvLens: IndexTensor

  constructor(pageTable: IndexTensor, kvLens: IndexTensor) {
    this.pageTable = pageTable
    this.kvLens = kvLens
    Object.freeze(this)
  }

  get batchSize(): number {
    return this.kvLens.shape[0]!
  }

  dispose(): void {
    this.pageTable.dispose()
    this.kvLens.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
