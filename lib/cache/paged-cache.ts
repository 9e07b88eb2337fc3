import { checkInteger, checkIntegers, checkOneOf, describeValue } from '../check'
import { checkDevice, type DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { invoke, native, type NativeRopeOptions } from '../native'
import { bytesPerElement, computeDTypes, type FloatDType } from '../tensor/dtype'
import { Tensor, checkTensor, handleOf, optionalHandleOf, type FloatTensor, type IndexTensor } from '../tensor/tensor'
import { freezeBatch, pageBatchOf, type FrozenFacts, type PageBatch } from './page-batch'
import { PagePool } from './page-pool'
import { checkPages, reservePages } from './page-reservation'
import { openSequence, sequenceState, type Sequence, type SequenceOwner, type SequenceState } from './sequence'

export interface PagedCacheStats {
  readonly numPages: number
  readonly freePages: number
  /** Open sequences, forks included. */
  readonly sequences: number
  /** Of cache memory, for all heads together. */
  readonly bytesPerToken: number
}

/** Options that every paged cache has. */
export interface PagedCacheOptions {
  readonly numPages: number
  readonly pageSize?: number
  readonly dtype?: FloatDType
  readonly device?: DeviceId
}

/** Rows to be stored: one tensor per part of a cache row, all of [batch, newLen, ...]. */
export interface NewRows {
  readonly argument: string
  readonly tensor: unknown
  /** What follows batch and newLen. */
  readonly tail: readonly { readonly name: string; readonly size: number }[]
}

/** Keys that are rotated on their way into the pages: what `rope` would do before. */
export interface Rotation {
  readonly options: NativeRopeOptions
  /** [batch, newLen] int32; undefined stands for 0 … newLen - 1. */
  readonly positions: IndexTensor | undefined
}

/** Stores rows [batch, newLen, heads, width] in the slots of pages [numPages, pageSize, heads, width]; scales as native.pagedAppend has them. */
export function storeRows(
  argument: string, rows: FloatTensor, pages: FloatTensor, slots: Int32Array, rotation?: Rotation, scales?: Tensor<'float32'>,
): void {
  const [from, to] = [handleOf(argument, rows), handleOf('pages', pages)]
  const divisors = optionalHandleOf('scales', scales)
  const positions = rotation?.positions === undefined ? null : handleOf('positions', rotation.positions)
  invoke(() => {
    if (rotation === undefined) native.pagedAppend(from, to, slots, divisors)
    else native.ropeAppend(from, to, slots, divisors, positions, ...rotation.options)
  })
}

const pageSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
const cacheDTypes = [...computeDTypes, 'float8_e4m3'] as const
const maxSlots = 2 ** 31 - 1

/** What the caches share: pages, sequences, checks. It knows nothing of what a row means. */
export class PagedCache {
  readonly owner: SequenceOwner
  readonly numPages: number
  readonly pageSize: number
  readonly dtype: FloatDType
  readonly device: DeviceId
  readonly #kind: string
  readonly #bytesPerToken: number
  #disposed = false

  /** `widths`: elements of one token in each tensor of the cache. */
  constructor(kind: string, options: Partial<PagedCacheOptions>, defaultPageSize: number, widths: readonly number[]) {
    this.#kind = kind
    this.numPages = checkInteger('options.numPages', options.numPages, 1, maxSlots)
    this.pageSize = options.pageSize ?? defaultPageSize
    if (!pageSizes.includes(this.pageSize)) throw new ArgumentError('options.pageSize', 'a power of two from 1 to 256', describeValue(this.pageSize))
    this.dtype = checkOneOf('options.dtype', options.dtype ?? 'float32', cacheDTypes)
    this.device = checkDevice('options.device', options.device ?? 'cpu')
    const slots = this.numPages * this.pageSize
    if (slots > maxSlots) throw new ArgumentError('options.numPages', `numPages * pageSize of at most ${maxSlots}`, `${this.numPages} * ${this.pageSize}`)
    this.#bytesPerToken = bytesPerElement(this.dtype) * widths.reduce((sum, width) => sum + width, 0)
    if (slots * this.#bytesPerToken > Number.MAX_SAFE_INTEGER) {
      throw new ArgumentError('options.numPages', 'a cache of less than 2^53 bytes', `${slots} tokens of ${this.#bytesPerToken} bytes`)
    }
    this.owner = { pool: new PagePool(this.numPages), pageSize: this.pageSize, open: new Set() }
  }

  get stats(): PagedCacheStats {
    const { numPages } = this
    return { numPages, freePages: this.owner.pool.freePages, sequences: this.owner.open.size, bytesPerToken: this.#bytesPerToken }
  }

  /** Memory for the pages, not filled: slots without a token are never read. */
  allocate(tail: readonly number[]): FloatTensor {
    const [shape, options] = [[this.numPages, this.pageSize, ...tail], { dtype: this.dtype, device: this.device }]
    // A page that a fork writes to is copied whole, with rows that nobody wrote: tools that watch a GPU's memory would report those.
    return this.device === 'cpu' ? Tensor.empty(shape, options) : Tensor.zeros(shape, options)
  }

  open(): Sequence {
    this.checkLive()
    return openSequence(this.owner)
  }

  batch(sequences: unknown): PageBatch {
    return freezeBatch(this.owner, this.#states(checkList(sequences)), this.device)
  }

  batchOf(argument: string, value: unknown): FrozenFacts {
    return pageBatchOf(argument, value, this.owner)
  }

  /** Throws what an append of these rows would throw for its sequences and pages. */
  checkAppend(sequences: unknown, lens: Int32Array): void {
    checkPages(this.owner, this.#writable(checkList(sequences)), lens)
  }

  /**
   * Checks everything, makes room, and calls `enqueue` with the tensors and where their rows go. Should it throw, nothing has changed.
   * The function returned takes the append back; it is valid until the sequences change again.
   */
  append(
    sequences: unknown, rows: readonly NewRows[], lens: unknown,
    enqueue: (tensors: readonly FloatTensor[], slots: Int32Array, copies: Int32Array) => void,
  ): () => void {
    this.checkLive()
    // All that is the caller's is read before the states are looked at: a getter that closes a sequence comes too early to harm.
    const list = checkList(sequences)
    const tensors = rows.map((row) => this.#checkRows(row, list.length))
    const newLen = tensors[0]!.shape[1]!
    tensors.forEach(({ shape }, i) => {
      if (shape[1] !== newLen) shapeError(rows[i]!, `newLen (axis 1) to be ${newLen} as in ${rows[0]!.argument}`, shape)
    })
    const counts = lens === undefined ? new Int32Array(list.length).fill(newLen) : checkIntegers('options.lens', lens, 0, newLen, list.length)
    const states = this.#writable(list)
    const { slots, copies, undo } = reservePages(this.owner, states, newLen, counts)
    try {
      enqueue(tensors, slots, copies)
    } catch (error) {
      undo()
      throw error
    }
    return undo
  }

  /** Ends all sequences. Idempotent. */
  dispose(): void {
    this.#disposed = true
    for (const state of this.owner.open) {
      state.length = 0
      for (const page of state.pages.splice(0)) this.owner.pool.release(page)
    }
    this.owner.open.clear()
  }

  checkLive(): void {
    if (this.#disposed) throw new ArgumentError('cache', `a live ${this.#kind}`, 'a disposed one', 'DISPOSED')
  }

  #states(sequences: readonly unknown[]): readonly SequenceState[] {
    this.checkLive()
    return sequences.map((sequence, b) => sequenceState(`sequences[${b}]`, sequence, this.owner))
  }

  /** As #states, each sequence at most once. */
  #writable(sequences: readonly unknown[]): readonly SequenceState[] {
    const states = this.#states(sequences)
    const seen = new Map<SequenceState, number>()
    states.forEach((state, b) => {
      const first = seen.get(state)
      if (first !== undefined) throw new ArgumentError(`sequences[${b}]`, 'each sequence once', `the sequence at ${first} again`)
      seen.set(state, b)
    })
    return states
  }

  #checkRows(row: NewRows, batch: number): FloatTensor {
    const tensor = checkTensor(row.argument, row.tensor)
    const { shape, dtype, device } = tensor
    const names = ['batch', 'newLen', ...row.tail.map(({ name }) => name)]
    if (shape.length !== names.length) shapeError(row, `shape [${names.join(', ')}]`, shape)
    if (shape[0] !== batch) shapeError(row, `batch (axis 0) to be ${batch}, the number of sequences`, shape)
    row.tail.forEach(({ name, size }, i) => {
      if (shape[i + 2] !== size) shapeError(row, `${name} (axis ${i + 2}) to be ${size}`, shape)
    })
    if (!(computeDTypes as readonly string[]).includes(dtype)) throw new ArgumentError(row.argument, 'dtype float32, float16 or bfloat16', dtype)
    if (device !== this.device) throw new ArgumentError(row.argument, `the device of the cache (${this.device})`, device)
    return tensor as FloatTensor
  }
}

/** A copy, without holes. */
function checkList(sequences: unknown): readonly unknown[] {
  if (!Array.isArray(sequences)) throw new ArgumentError('sequences', 'an array of sequences', describeValue(sequences))
  return Array.from<unknown>(sequences)
}

function shapeError(row: NewRows, expected: string, shape: readonly number[]): never {
  throw new ArgumentError(row.argument, expected, `[${shape.join(', ')}]`, 'SHAPE_MISMATCH')
}

// Kept outside the public classes: an object that only looks like a cache has no entry here.
const caches = new WeakMap<object, PagedCache>()

export function registerCache(cache: object, pages: PagedCache): void {
  caches.set(cache, pages)
}

/** The pages behind a live cache of this class. */
export function pagesOf(argument: string, value: unknown, kind: abstract new (...args: never[]) => object): PagedCache {
  const pages = value instanceof kind ? caches.get(value) : undefined
  if (pages === undefined) throw new ArgumentError(argument, `a ${kind.name}`, describeValue(value))
  pages.checkLive()
  return pages
}
