import { checkInteger, describeValue } from '../check'
import { ArgumentError } from '../errors'
import type { PagePool } from './page-pool'

/**
 * One growing list of tokens in a paged cache. Made by the cache's `open()`, or by `fork()`. It keeps its pages until it is closed or
 * the cache is disposed, also when it is dropped.
 */
export interface Sequence extends Disposable {
  /** Tokens stored; 0 once closed. */
  readonly length: number
  /** Pages in the order of their tokens; [] once closed. */
  readonly pages: readonly number[]
  /** A second sequence with the same tokens. They share the pages; a shared page is copied when either side writes to it. */
  fork(): Sequence
  /** Forgets the tokens from `length` on (0 … the present length) and gives pages back that are no longer needed. */
  truncate(length: number): void
  /** Gives the pages back. Idempotent; any other use is then an ArgumentError of code DISPOSED. */
  close(): void
}

/** What sequences of one cache share: the owner's identity decides where a sequence may be used. */
export interface SequenceOwner {
  readonly pool: PagePool
  readonly pageSize: number
  readonly open: Set<SequenceState>
}

/** A sequence as the cache sees it. */
export interface SequenceState {
  readonly owner: SequenceOwner
  length: number
  pages: number[]
}

// Kept outside the objects: a forged or proxied sequence has no state, and users cannot reach it.
const states = new WeakMap<object, SequenceState>()

export function openSequence(owner: SequenceOwner, length = 0, pages: number[] = []): Sequence {
  const state: SequenceState = { owner, length, pages }
  const sequence = new CacheSequence()
  states.set(sequence, state)
  owner.open.add(state)
  return sequence
}

/** The state of an open sequence of this owner. */
export function sequenceState(argument: string, value: unknown, owner: SequenceOwner): SequenceState {
  const state = typeof value === 'object' && value !== null ? states.get(value) : undefined
  if (state === undefined) throw new ArgumentError(argument, 'a Sequence', describeValue(value))
  if (state.owner !== owner) throw new ArgumentError(argument, 'a sequence of this cache', 'a sequence of another cache')
  checkOpen(argument, state)
  return state
}

function checkOpen(argument: string, state: SequenceState): void {
  if (!state.owner.open.has(state)) throw new ArgumentError(argument, 'an open sequence', 'a closed sequence', 'DISPOSED')
}

class CacheSequence implements Sequence {
  get length(): number {
    return this.#state.length
  }

  get pages(): readonly number[] {
    return [...this.#state.pages]
  }

  fork(): Sequence {
    const { owner, length, pages } = this.#openState
    for (const page of pages) owner.pool.retain(page)
    return openSequence(owner, length, [...pages])
  }

  truncate(length: number): void {
    const state = this.#openState
    const { pool, pageSize } = state.owner
    state.length = checkInteger('length', length, 0, state.length)
    for (const page of state.pages.splice(Math.ceil(length / pageSize))) pool.release(page)
  }

  close(): void {
    const state = this.#state
    if (!state.owner.open.delete(state)) return
    state.length = 0
    for (const page of state.pages.splice(0)) state.owner.pool.release(page)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  get #state(): SequenceState {
    const state = states.get(this)
    if (state === undefined) throw new ArgumentError('this', 'a Sequence', describeValue(this))
    return state
  }

  get #openState(): SequenceState {
    const state = this.#state
    checkOpen('sequence', state)
    return state
  }
}
