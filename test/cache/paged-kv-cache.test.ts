import { ArgumentError, devices, pagedAttention, PagedKvCache, Tensor, type FloatDType, type Sequence } from '../../lib/index'
import { attention } from '../reference/attention'
import { roundTo } from '../reference/rounding'
import { expectClose } from '../support/compare'
import { computeDTypes, testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { argumentError, expectError } from '../support/errors'
import { settledMemory } from '../support/memory'
import { Random } from '../support/random'
import { dims, tokenCaches } from './token-caches'

describe.each(testDevices)('PagedKvCache on %s', (device) => {
  const { make, rows, append, stored } = tokenCaches(device)

  it.each([1, 2, 4, 16, 256])('stores tokens in pages of %i', (pageSize) => {
    using cache = make({ pageSize, numPages: 16 })
    const [a, b] = [cache.open(), cache.open()]
    append(cache, [a], [[1, 2, 3]])
    append(cache, [a, b], [[4, 5], [11, 12]])
    append(cache, [b, a], [[13], [6]])
    expect(stored(cache, a)).toEqual([1, 2, 3, 4, 5, 6])
    expect(stored(cache, b)).toEqual([11, 12, 13])
    expect([a.length, b.length]).toEqual([6, 3])
    expect(cache.stats).toEqual({
      numPages: 16, freePages: 16 - Math.ceil(6 / pageSize) - Math.ceil(3 / pageSize), sequences: 2, bytesPerToken: 2 * (3 + 5) * 4,
    })
  })

  it('stores only `lens` rows of each sequence', () => {
    using cache = make()
    const sequences = [cache.open(), cache.open(), cache.open()]
    append(cache, sequences, [[1, 2, 3], [4, NaN, NaN], [NaN, NaN, NaN]], [3, 1, 0])
    expect(sequences.map((sequence) => stored(cache, sequence))).toEqual([[1, 2, 3], [4], []])
  })

  it('copies a shared page when either side writes to it, and only then', () => {
    using cache = make()
    const a = cache.open()
    append(cache, [a], [[1, 2, 3, 4, 5, 6]])
    const b = a.fork()
    expect(cache.stats.freePages).toBe(6)
    append(cache, [b], [[17]])
    expect(cache.stats.freePages).toBe(5)
    append(cache, [a], [[7]])
    expect(cache.stats.freePages).toBe(5)
    expect(stored(cache, a)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(stored(cache, b)).toEqual([1, 2, 3, 4, 5, 6, 17])
    expect(a.pages[0]).toBe(b.pages[0])
    expect(a.pages[1]).not.toBe(b.pages[1])
  })

  it('lets both sides of a fork write in one append', () => {
    using cache = make()
    const a = cache.open()
    append(cache, [a], [[1, 2]])
    const b = a.fork()
    append(cache, [a, b], [[3, 4, 5], [13, 14, 15]])
    expect(stored(cache, a)).toEqual([1, 2, 3, 4, 5])
    expect(stored(cache, b)).toEqual([1, 2, 13, 14, 15])
  })

  it('keeps a fork whole when the other side is cut and written again', () => {
    using cache = make()
    const a = cache.open()
    append(cache, [a], [[1, 2, 3, 4, 5, 6]])
    const b = a.fork()
    a.truncate(2)
    append(cache, [a], [[23, 24, 25]])
    expect(stored(cache, a)).toEqual([1, 2, 23, 24, 25])
    expect(stored(cache, b)).toEqual([1, 2, 3, 4, 5, 6])
    b.close()
    expect(stored(cache, a)).toEqual([1, 2, 23, 24, 25])
  })

  it('may reuse a page at once while work on it is still queued', () => {
    const random = new Random(5)
    using cache = make({ numPages: 16, pageSize: 16, numKvHeads: 1, headDimQk: 64, headDimVo: 64 })
    const [k, v, q] = [0, 1, 2].map(() => random.normals(256 * 64).map(Math.fround)) as [Float64Array, Float64Array, Float64Array]
    const tensors = [k, v, q].map((values) => disposeLater(Tensor.from(values, [1, 256, 1, 64], { device })))
    const first = cache.open()
    cache.append([first], tensors[0]!, tensors[1]!)
    using batch = cache.batch([first])
    using out = pagedAttention(tensors[2]!, cache, batch).out
    first.close()
    using second = cache.open()
    using poisoned = Tensor.from(new Float32Array(256 * 64).fill(NaN), [1, 256, 1, 64], { device })
    cache.append([second], poisoned, poisoned)
    const { out: expected } = attention(
      { batch: 1, qoLen: 256, kvLen: 256, numQoHeads: 1, numKvHeads: 1, headDimQk: 64, headDimVo: 64, q, k, v }, { causal: true },
    )
    expectClose(out.readSync(), expected, 1e-5)
  })

  it.each(computeDTypes.flatMap((from) => computeDTypes.map((to) => [from, to] as const)))('converts %s rows to a %s cache', (from, to) => {
    const random = new Random(7)
    using cache = make({ dtype: to, headDimVo: 3 })
    const values = Array.from({ length: 6 }, () => roundTo(from, random.normal()))
    using row = Tensor.from(values, [1, 1, 2, 3], { dtype: from as FloatDType, device })
    const sequence = cache.open()
    cache.append([sequence], row, row)
    const at = sequence.pages[0]! * 4 * 6
    expect([...cache.keys.readSync().slice(at, at + 6)]).toEqual(values.map((value) => roundTo(to, value)))
    expect(cache.keys.dtype).toBe(to)
  })

  it('takes strided rows', () => {
    using cache = make()
    const sequence = cache.open()
    // [batch, heads, newLen, dim] as other libraries keep them.
    using k = Tensor.from(Float32Array.from({ length: 12 }, (_, i) => i), [1, 2, 2, 3], { device })
    using v = Tensor.from(new Float32Array(20), [1, 2, 2, 5], { device })
    using kView = k.transpose(1, 2)
    using vView = v.transpose(1, 2)
    cache.append([sequence], kView, vView)
    const at = sequence.pages[0]! * 4 * 6
    expect([...cache.keys.readSync().slice(at, at + 12)]).toEqual([0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11])
  })

  it('appends nothing for no sequences, no rows and lens of 0', () => {
    using cache = make()
    const sequence = cache.open()
    append(cache, [], [])
    append(cache, [sequence], [[]])
    append(cache, [sequence], [[1]], [0])
    expect([sequence.length, sequence.pages, cache.stats.freePages]).toEqual([0, [], 8])
  })

  describe('Sequence', () => {
    it('truncates, gives whole pages back, and refuses lengths out of range', () => {
      using cache = make()
      const a = cache.open()
      append(cache, [a], [[1, 2, 3, 4, 5, 6, 7, 8, 9]])
      a.truncate(5)
      expect([a.length, a.pages.length, cache.stats.freePages]).toEqual([5, 2, 6])
      a.truncate(4)
      expect([a.length, a.pages.length, cache.stats.freePages]).toEqual([4, 1, 7])
      for (const [length, text] of [[5, '5'], [-1, '-1'], [1.5, '1.5'], [NaN, 'NaN']] as const) {
        expectError(() => a.truncate(length), argumentError('length', 'an integer from 0 to 4', text))
      }
      a.truncate(0)
      expect([a.length, a.pages, cache.stats.freePages]).toEqual([0, [], 8])
    })

    it('closes once, by name or by `using`', () => {
      using cache = make()
      let held: Sequence
      {
        using a = cache.open()
        held = a
        append(cache, [a], [[1, 2, 3, 4, 5]])
        expect(cache.stats).toMatchObject({ sequences: 1, freePages: 6 })
      }
      held.close()
      expect(cache.stats).toMatchObject({ sequences: 0, freePages: 8 })
      expect([held.length, held.pages]).toEqual([0, []])
      expectError(() => held.fork(), argumentError('sequence', 'an open sequence', 'a closed sequence', 'DISPOSED'))
      expectError(() => held.truncate(0), argumentError('sequence', 'an open sequence', 'a closed sequence', 'DISPOSED'))
    })

    it('gives out copies of its pages', () => {
      using cache = make()
      const a = cache.open()
      append(cache, [a], [[1]])
      ;(a.pages as number[])[0] = 7
      expect(stored(cache, a)).toEqual([1])
    })
  })

  it('frees everything on dispose and refuses later use', async () => {
    const k = rows([[1]], 3)
    const v = rows([[1]], 5)
    const { tensors, bytes } = await settledMemory(device)
    const cache = make()
    const a = cache.open()
    cache.append([a], k, v)
    const disposed = argumentError('cache', 'a live PagedKvCache', 'a disposed one', 'DISPOSED')
    cache.dispose()
    cache.dispose()
    expect(a.length).toBe(0)
    expectError(() => cache.append([a], k, v), disposed)
    expectError(() => cache.open(), disposed)
    expectError(() => cache.batch([]), disposed)
    expectError(() => a.fork(), argumentError('sequence', 'an open sequence', 'a closed sequence', 'DISPOSED'))
    a.close()
    await devices.synchronize(device)
    expect(devices.memory(device)).toMatchObject({ tensors, bytes })
  })

  it.each([
    [{ numPages: 0 }, argumentError('options.numPages', 'an integer from 1 to 2147483647', '0')],
    [{ numPages: 1.5 }, argumentError('options.numPages', 'an integer from 1 to 2147483647', '1.5')],
    [{ pageSize: 3 }, argumentError('options.pageSize', 'a power of two from 1 to 256', '3')],
    [{ pageSize: 512 }, argumentError('options.pageSize', 'a power of two from 1 to 256', '512')],
    [{ pageSize: '4' }, argumentError('options.pageSize', 'a power of two from 1 to 256', "'4'")],
    [{ numPages: 2 ** 30, pageSize: 4 }, argumentError('options.numPages', 'numPages * pageSize of at most 2147483647', '1073741824 * 4')],
    [{ numPages: 2 ** 30, pageSize: 1, numKvHeads: 2 ** 20, headDimQk: 4 },
      argumentError('options.numPages', 'a cache of less than 2^53 bytes', '1073741824 tokens of 37748736 bytes')],
    [{ numKvHeads: -1 }, argumentError('options.numKvHeads', 'an integer from 1 to 2147483647', '-1')],
    [{ headDimQk: undefined }, argumentError('options.headDimQk', 'an integer from 1 to 2147483647', 'undefined')],
    [{ headDimVo: 0 }, argumentError('options.headDimVo', 'an integer from 1 to 2147483647', '0')],
    [{ dtype: 'int32' as never }, argumentError('options.dtype', "'float32' or 'float16' or 'bfloat16' or 'float8_e4m3'", "'int32'")],
    [{ device: 'gpu' }, argumentError('options.device', "'cpu', 'cuda' or 'cuda:<n>'", "'gpu'")],
    [{ pages: 4 }, argumentError('options', 'options among numPages, pageSize, numKvHeads, headDimQk, headDimVo, dtype, keyScales, valueScales, device',
      "unknown option 'pages'")],
  ])('options %j are refused', (options, expected) => {
    expectError(() => new PagedKvCache({ numPages: 8, pageSize: 4, ...dims, device, ...options } as ConstructorParameters<typeof PagedKvCache>[0]), expected)
  })

  it('refuses no options at all', () => {
    expect(() => new PagedKvCache(undefined as never)).toThrow(ArgumentError)
  })
})
