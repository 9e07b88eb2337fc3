/** Seeded random operations on sequences against a model that keeps every sequence's tokens as a plain list. */
import { PagePool } from '../../lib/cache/page-pool'
import { reservePages } from '../../lib/cache/page-reservation'
import { openSequence, sequenceState, type Sequence, type SequenceOwner } from '../../lib/cache/sequence'
import { ResourceError } from '../../lib/errors'
import { Random } from '../support/random'

interface Modelled {
  readonly sequence: Sequence
  tokens: number[]
}

/** A cache without a device: slots hold token numbers, so that a wrong page or a missing copy shows as a wrong token. */
class HostCache {
  readonly owner: SequenceOwner
  readonly slots: Int32Array
  nextToken = 0

  constructor(numPages: number, pageSize: number) {
    this.owner = { pool: new PagePool(numPages), pageSize, open: new Set() }
    this.slots = new Int32Array(numPages * pageSize).fill(-1)
  }

  append(chosen: readonly Modelled[], newLen: number, lens: Int32Array): void {
    const states = chosen.map(({ sequence }, b) => sequenceState(`sequences[${b}]`, sequence, this.owner))
    const { slots, copies } = reservePages(this.owner, states, newLen, lens)
    const { pageSize } = this.owner
    for (let i = 0; i < copies.length; i += 2) {
      this.slots.copyWithin(copies[i + 1]! * pageSize, copies[i]! * pageSize, (copies[i]! + 1) * pageSize)
    }
    slots.forEach((slot, i) => {
      if (slot < 0) return
      this.slots[slot] = this.nextToken
      chosen[Math.floor(i / newLen)]!.tokens.push(this.nextToken++)
    })
  }

  tokens({ length, pages }: Sequence): number[] {
    const { pageSize } = this.owner
    return Array.from({ length }, (_, i) => this.slots[pages[Math.floor(i / pageSize)]! * pageSize + (i % pageSize)]!)
  }
}

function expectConsistent(cache: HostCache, live: readonly Modelled[]): void {
  const { pool, pageSize, open } = cache.owner
  const holders = new Map<number, number>()
  for (const { sequence } of live) for (const page of sequence.pages) holders.set(page, (holders.get(page) ?? 0) + 1)
  // One comparison of texts per step: a matcher per token would take most of the test's time.
  const stored = live.map(({ sequence }) => `${sequence.length} tokens on ${new Set(sequence.pages).size} pages: ${cache.tokens(sequence).join()}`)
  const modelled = live.map(({ tokens }) => `${tokens.length} tokens on ${Math.ceil(tokens.length / pageSize)} pages: ${tokens.join()}`)
  const references = [...holders.keys()].map((page) => pool.references(page))
  expect([...stored, references.join(), pool.freePages, open.size].join('\n')).toBe(
    [...modelled, [...holders.values()].join(), pool.numPages - holders.size, live.length].join('\n'),
  )
}

/** Pages that the operation would need, found by trying: the model's answer to OUT_OF_PAGES. */
function pagesAfter(cache: HostCache, live: readonly Modelled[], chosen: readonly Modelled[], lens: Int32Array): number {
  const { pageSize, pool } = cache.owner
  const references = new Map<number, number>()
  for (const { sequence } of live) for (const page of sequence.pages) references.set(page, (references.get(page) ?? 0) + 1)
  let used = pool.numPages - pool.freePages
  chosen.forEach(({ sequence, tokens }, b) => {
    if (lens[b] === 0) return
    const room = sequence.pages.length * pageSize - tokens.length
    used += Math.max(0, Math.ceil((lens[b]! - room) / pageSize))
    const last = sequence.pages.at(-1)
    if (room > 0 && references.get(last!)! > 1) {
      used += 1
      references.set(last!, references.get(last!)! - 1)
    }
  })
  return used
}

describe.each([1, 2, 4, 16])('pages of %i tokens', (pageSize) => {
  it.each([1, 2, 3, 4])('stay right through random appends, forks, truncations and closings (seed %i)', (seed) => {
    const random = new Random(1000 * pageSize + seed)
    const cache = new HostCache(24, pageSize)
    const live: Modelled[] = []
    const seen = { append: 0, outOfPages: 0, copied: 0 }
    const operations = {
      open: () => void live.push({ sequence: openSequence(cache.owner), tokens: [] }),
      fork: () => {
        const from = live[random.integer(0, live.length - 1)]
        if (from && live.length < 8) live.push({ sequence: from.sequence.fork(), tokens: [...from.tokens] })
      },
      truncate: () => {
        const entry = live[random.integer(0, live.length - 1)]
        if (!entry) return
        const length = random.integer(0, entry.tokens.length)
        entry.sequence.truncate(length)
        entry.tokens = entry.tokens.slice(0, length)
      },
      close: () => {
        const [entry] = live.splice(random.integer(0, live.length - 1), 1)
        entry?.sequence.close()
      },
      append: () => {
        const chosen = random.shuffle(live).slice(0, random.integer(0, live.length))
        const newLen = random.integer(0, 3 * pageSize)
        const lens = Int32Array.from(chosen, () => random.integer(0, newLen))
        const used = pagesAfter(cache, live, chosen, lens)
        if (used > cache.owner.pool.numPages) {
          expect(() => cache.append(chosen, newLen, lens)).toThrow(ResourceError)
          ++seen.outOfPages
          return
        }
        const before = cache.owner.pool.freePages
        const grown = chosen.reduce((sum, { tokens }, b) => sum + Math.ceil((tokens.length + lens[b]!) / pageSize) - Math.ceil(tokens.length / pageSize), 0)
        cache.append(chosen, newLen, lens)
        ++seen.append
        expect(cache.owner.pool.numPages - cache.owner.pool.freePages).toBe(used)
        if (before - cache.owner.pool.freePages > grown) ++seen.copied
      },
    }
    const mix = ['open', 'fork', 'fork', 'truncate', 'close', 'append', 'append', 'append', 'append'] as const
    for (let step = 0; step < 600; ++step) {
      operations[mix[random.integer(0, mix.length - 1)]!]()
      expectConsistent(cache, live)
    }
    for (const { sequence } of live.splice(0)) sequence.close()
    expectConsistent(cache, [])
    // The run has been where it should go.
    expect(seen.append).toBeGreaterThan(20)
    expect(seen.outOfPages).toBeGreaterThan(0)
    if (pageSize > 1) expect(seen.copied).toBeGreaterThan(0)
  })
})

describe('reservePages', () => {
  const owner = (numPages: number): SequenceOwner => ({ pool: new PagePool(numPages), pageSize: 4, open: new Set() })
  const reserve = (pages: SequenceOwner, sequences: readonly Sequence[], count: number): ReturnType<typeof reservePages> =>
    reservePages(pages, sequences.map((sequence) => sequenceState('sequence', sequence, pages)), count, new Int32Array(sequences.length).fill(count))

  it('copies a shared page for all of its writers but the last', () => {
    const pages = owner(3)
    const a = openSequence(pages)
    reserve(pages, [a], 2)
    const b = a.fork()
    expect([...reserve(pages, [a, b], 1).copies]).toEqual([0, 1])
    expect([a.pages, b.pages]).toEqual([[1], [0]])
  })

  it('does not copy a shared page that is full', () => {
    const pages = owner(3)
    const a = openSequence(pages)
    reserve(pages, [a], 4)
    const b = a.fork()
    expect([...reserve(pages, [b], 1).copies]).toEqual([])
    expect([a.pages, b.pages]).toEqual([[0], [0, 1]])
  })

  it('undoes growth and copies', () => {
    const pages = owner(8)
    const a = openSequence(pages)
    reserve(pages, [a], 6)
    const b = a.fork()
    const { undo } = reserve(pages, [a, b], 5)
    undo()
    expect([a.length, a.pages, b.length, b.pages]).toEqual([6, [0, 1], 6, [0, 1]])
    expect([pages.pool.freePages, pages.pool.references(0), pages.pool.references(1)]).toEqual([6, 2, 2])
  })

  it('needs pages for the copies too, and says how many', () => {
    const pages = owner(2)
    const a = openSequence(pages)
    reserve(pages, [a], 5)
    const b = a.fork()
    expect(() => reserve(pages, [b], 1)).toThrow(
      expect.objectContaining({
        code: 'OUT_OF_PAGES', requested: 1, available: 0,
        message: 'sequences: expected new tokens to need at most the 0 free pages of 2, received tokens that need 1',
      }),
    )
    expect([b.length, b.pages]).toEqual([5, [0, 1]])
  })
})
