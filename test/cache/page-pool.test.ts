import { PagePool } from '../../lib/cache/page-pool'

describe('PagePool', () => {
  it('hands out every page once and takes released pages back', () => {
    const pool = new PagePool(3)
    expect(pool.freePages).toBe(3)
    expect([pool.take(), pool.take(), pool.take()].sort()).toEqual([0, 1, 2])
    expect(pool.freePages).toBe(0)
    expect(() => pool.take()).toThrow(new RangeError('PagePool.take: no page is free'))
    pool.release(1)
    expect(pool.freePages).toBe(1)
    expect(pool.take()).toBe(1)
  })

  it('frees a page with its last reference', () => {
    const pool = new PagePool(1)
    const page = pool.take()
    pool.retain(page)
    pool.release(page)
    expect([pool.references(page), pool.freePages]).toEqual([1, 0])
    pool.release(page)
    expect([pool.references(page), pool.freePages]).toEqual([0, 1])
  })

  it('notices a page that is released or retained while free', () => {
    const pool = new PagePool(2)
    expect(() => pool.release(0)).toThrow(new RangeError('PagePool: page 0 is not in use'))
    expect(() => pool.retain(1)).toThrow(new RangeError('PagePool: page 1 is not in use'))
  })

  it('costs nothing for pages that were never taken', () => {
    const pool = new PagePool(2 ** 31 - 1)
    expect(pool.take()).toBe(0)
    expect(pool.freePages).toBe(2 ** 31 - 2)
  })
})
