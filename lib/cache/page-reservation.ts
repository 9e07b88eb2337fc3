import { ResourceError } from '../errors'
import type { SequenceOwner, SequenceState } from './sequence'

/** Where an append goes. The sequences already include the new tokens; `undo` takes that back while nothing else has changed. */
export interface PageReservation {
  /** [batch · newLen]: page · pageSize + offset of each new row, -1 for a row that is not stored. */
  readonly slots: Int32Array
  /** Pairs from, to, from, to, … of shared pages to copy before anything is written. */
  readonly copies: Int32Array
  readonly undo: () => void
}

/**
 * Makes room for lens[b] more tokens in each sequence: new pages, and an own copy of a partly filled last page that is shared.
 * All or nothing: OUT_OF_PAGES is thrown before anything changes.
 */
export function reservePages(owner: SequenceOwner, states: readonly SequenceState[], newLen: number, lens: Int32Array): PageReservation {
  const { pool, pageSize } = owner
  checkPages(owner, states, lens)
  const before = states.map(({ length, pages }) => ({ length, pages: [...pages] }))
  const copies: number[] = []
  const slots = new Int32Array(states.length * newLen).fill(-1)
  states.forEach((state, b) => {
    const count = lens[b]!
    if (count === 0) return
    const last = state.pages.at(-1)
    if (last !== undefined && state.length % pageSize !== 0 && pool.references(last) > 1) {
      const copy = pool.take()
      copies.push(last, copy)
      pool.release(last)
      state.pages[state.pages.length - 1] = copy
    }
    for (let i = 0; i < count; ++i) {
      const token = state.length + i
      if (token % pageSize === 0) state.pages.push(pool.take())
      slots[b * newLen + i] = state.pages[Math.floor(token / pageSize)]! * pageSize + (token % pageSize)
    }
    state.length += count
  })
  const undo = (): void => {
    // First hold what was shared before, then let go of what was taken: a page in both must not become free in between.
    for (const { pages } of before) for (const page of pages) pool.retain(page)
    states.forEach((state, b) => {
      for (const page of state.pages) pool.release(page)
      Object.assign(state, before[b])
    })
  }
  return { slots, copies: Int32Array.from(copies), undo }
}

/** Throws OUT_OF_PAGES where `reservePages` would. */
export function checkPages({ pool, pageSize }: SequenceOwner, states: readonly SequenceState[], lens: Int32Array): void {
  let needed = 0
  // Of sequences that share a page, the last one to write finds it its own and copies nothing.
  const released = new Map<number, number>()
  states.forEach(({ length, pages }, b) => {
    const count = lens[b]!
    if (count === 0) return
    needed += Math.ceil((length + count) / pageSize) - pages.length
    const last = pages.at(-1)
    if (last === undefined || length % pageSize === 0) return
    const gone = released.get(last) ?? 0
    if (pool.references(last) - gone > 1) {
      needed += 1
      released.set(last, gone + 1)
    }
  })
  if (needed > pool.freePages) {
    const text = `sequences: expected new tokens to need at most the ${pool.freePages} free pages of ${pool.numPages}, received tokens that need ${needed}`
    throw new ResourceError('OUT_OF_PAGES', text, needed, pool.freePages)
  }
}
