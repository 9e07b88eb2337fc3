/** Which pages of a cache are in use, and by how many sequences each: bookkeeping alone, no memory of a device. */
export class PagePool {
  readonly numPages: number
  // Both grow with the pages that were ever taken, so that a large, mostly unused cache costs nothing here.
  readonly #references: number[] = []
  readonly #returned: number[] = []

  constructor(numPages: number) {
    this.numPages = numPages
  }

  get freePages(): number {
    return this.numPages - this.#references.length + this.#returned.length
  }

  /** How many sequences hold the page; 0 when it is free. */
  references(page: number): number {
    return this.#references[page] ?? 0
  }

  /** A free page, now held once. The caller has made sure that there is one. */
  take(): number {
    const page = this.#returned.pop() ?? this.#references.length
    if (page >= this.numPages) throw new RangeError('PagePool.take: no page is free')
    this.#references[page] = 1
    return page
  }

  retain(page: number): void {
    this.#references[page] = this.#held(page) + 1
  }

  /** The last release frees the page; it may be taken again at once, because the device's queue runs in order. */
  release(page: number): void {
    const left = this.#held(page) - 1
    this.#references[page] = left
    if (left === 0) this.#returned.push(page)
  }

  #held(page: number): number {
    const count = this.references(page)
    if (count === 0) throw new RangeError(`PagePool: page ${page} is not in use`)
    return count
  }
}
