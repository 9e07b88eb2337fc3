/** An append that is refused changes nothing. */
import { ResourceError, Tensor, type FloatTensor, type PagedKvCache, type Sequence } from '../../lib/index'
import { testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { argumentError, expectError, thrownBy } from '../support/errors'
import { tokenCaches } from './token-caches'

describe.each(testDevices)('a refused append on %s', (device) => {
  const { make, rows, append, stored } = tokenCaches(device)

  it('OUT_OF_PAGES counts copies too and changes nothing', () => {
    using cache = make({ numPages: 3 })
    const a = cache.open()
    append(cache, [a], [[1, 2, 3, 4, 5, 6]])
    const b = a.fork()
    const before = [a.pages, b.pages, cache.stats]
    const k = rows([[7, 8, 9], [17, 18, 19]], 3)
    const v = rows([[7, 8, 9], [17, 18, 19]], 5)
    expectError(() => cache.append([a, b], k, v), {
      type: ResourceError, code: 'OUT_OF_PAGES',
      message: 'sequences: expected new tokens to need at most the 1 free pages of 3, received tokens that need 3',
    })
    expect([a.pages, b.pages, cache.stats]).toEqual(before)
    expect([stored(cache, a), stored(cache, b)]).toEqual([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]])
  })

  it('an error of the addon changes nothing', () => {
    using cache = make({ headDimVo: 3 })
    const a = cache.open()
    using ones = Tensor.from(new Float32Array(36).fill(1), [1, 6, 2, 3], { device })
    cache.append([a], ones, ones)
    using b = a.fork()
    const before = [a.pages, b.pages, cache.stats]
    using own = cache.keys.slice(0, 0, 1) // a part of the cache as its new rows
    expectError(() => cache.append([b], own, own), argumentError('pages', 'memory that does not overlap src', 'overlapping memory'))
    expect([a.pages, b.pages, cache.stats]).toEqual(before)
  })

  const shapeError = (argument: string, expected: string, received: string) => argumentError(argument, expected, received, 'SHAPE_MISMATCH')
  const k = (): FloatTensor => rows([[1, 2]], 3)
  const v = (): FloatTensor => rows([[1, 2]], 5)
  it.each([
    ['a sequence twice', (cache: PagedKvCache, a: Sequence) => cache.append([a, a], rows([[1], [2]], 3), rows([[1], [2]], 5)),
      argumentError('sequences[1]', 'each sequence once', 'the sequence at 0 again')],
    ['no array', (cache: PagedKvCache) => cache.append({} as Sequence[], k(), v()), argumentError('sequences', 'an array of sequences', 'an object')],
    ['a foreign object', (cache: PagedKvCache) => cache.append([{ length: 0, pages: [] } as unknown as Sequence], k(), v()),
      argumentError('sequences[0]', 'a Sequence', 'an object')],
    ['a proxy', (cache: PagedKvCache, a: Sequence) => cache.append([new Proxy(a, {})], k(), v()), argumentError('sequences[0]', 'a Sequence', 'a CacheSequence')],
    ['a hole', (cache: PagedKvCache) => cache.append(new Array(1) as Sequence[], k(), v()), argumentError('sequences[0]', 'a Sequence', 'undefined')],
    ['too many rows', (cache: PagedKvCache, a: Sequence) => cache.append([a], rows([[1], [2]], 3), v()),
      shapeError('k', 'batch (axis 0) to be 1, the number of sequences', '[2, 1, 2, 3]')],
    ['newLen that differs', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), rows([[1]], 5)),
      shapeError('v', 'newLen (axis 1) to be 2 as in k', '[1, 1, 2, 5]')],
    ['another head dim', (cache: PagedKvCache, a: Sequence) => cache.append([a], v(), v()), shapeError('k', 'headDimQk (axis 3) to be 3', '[1, 2, 2, 5]')],
    ['another rank', (cache: PagedKvCache, a: Sequence) => cache.append([a], disposeLater(k().reshape([1, 2, 6])), v()),
      shapeError('k', 'shape [batch, newLen, numKvHeads, headDimQk]', '[1, 2, 6]')],
    ['other heads', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), disposeLater(Tensor.zeros([1, 2, 1, 5], { device }))),
      shapeError('v', 'numKvHeads (axis 2) to be 2', '[1, 2, 1, 5]')],
    ['integers', (cache: PagedKvCache, a: Sequence) => cache.append([a], disposeLater(Tensor.zeros([1, 2, 2, 3], { dtype: 'int32', device })) as unknown as FloatTensor, v()),
      argumentError('k', 'dtype float32, float16 or bfloat16', 'int32')],
    ['no tensor', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), null as unknown as FloatTensor), argumentError('v', 'a Tensor', 'null')],
    ['a length beyond newLen', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), v(), { lens: [3] }),
      argumentError('options.lens[0]', 'an integer from 0 to 2', '3')],
    ['a fractional length', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), v(), { lens: [0.5] }),
      argumentError('options.lens[0]', 'an integer from 0 to 2', '0.5')],
    ['lengths for other sequences', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), v(), { lens: [1, 1] }), argumentError('options.lens', '1 integers', '2')],
    ['an unknown option', (cache: PagedKvCache, a: Sequence) => cache.append([a], k(), v(), { len: [1] } as object),
      argumentError('options', 'options among lens', "unknown option 'len'")],
  ])('%s is refused', (_, call, expected) => {
    using cache = make()
    const a = cache.open()
    append(cache, [a], [[1, 2, 3]])
    const before = [a.pages, a.length, cache.stats]
    // Tensors made by the call itself are not what is looked at here.
    const error = thrownBy(() => call(cache, a))
    expect(error).toBeInstanceOf(expected.type)
    expect(error).toMatchObject({ code: expected.code, message: expected.message })
    expect([a.pages, a.length, cache.stats]).toEqual(before)
    expect(stored(cache, a)).toEqual([1, 2, 3])
  })

  it('refuses closed sequences and those of another cache', () => {
    using cache = make()
    using other = make()
    const closed = cache.open()
    closed.close()
    const k = rows([[1]], 3)
    const v = rows([[1]], 5)
    expectError(() => cache.append([closed], k, v), argumentError('sequences[0]', 'an open sequence', 'a closed sequence', 'DISPOSED'))
    const foreign = other.open()
    expectError(() => cache.append([foreign], k, v), argumentError('sequences[0]', 'a sequence of this cache', 'a sequence of another cache'))
    expectError(() => cache.batch([foreign]), argumentError('sequences[0]', 'a sequence of this cache', 'a sequence of another cache'))
  })
})
