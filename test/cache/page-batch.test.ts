import { MlaKvCache, mlaDecode, pagedAttention, PagedKvCache, Tensor, type FloatTensor, type PageBatch } from '../../lib/index'
import { testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { argumentError, expectError } from '../support/errors'

describe.each(testDevices)('PageBatch on %s', (device) => {
  const make = (): PagedKvCache => new PagedKvCache({ numPages: 8, pageSize: 2, numKvHeads: 1, headDimQk: 4, device })
  const fill = (cache: PagedKvCache, lens: readonly number[]) =>
    lens.map((len) => {
      const sequence = cache.open()
      using rows = Tensor.from(new Float32Array(len * 4).fill(len), [1, len, 1, 4], { device })
      cache.append([sequence], rows, rows)
      return sequence
    })
  const query = (batch: number, qoLen = 1): Tensor<'float32'> => disposeLater(Tensor.zeros([batch, qoLen, 2, 4], { device }))

  const read = (out: FloatTensor): ArrayLike<number> & Iterable<number> => disposeLater(out).readSync()

  it('freezes page tables and lengths', () => {
    using cache = make()
    const [a, b, empty] = [...fill(cache, [5, 1]), cache.open()]
    using batch = cache.batch([a, b!, empty!])
    const { pages } = a
    a.truncate(1)
    expect([...batch.pageTable.readSync()]).toEqual([...pages, ...b!.pages, -1, -1, -1, -1, -1])
    expect([batch.pageTable.shape, batch.pageTable.dtype, batch.batchSize]).toEqual([[3, 3], 'int32', 3])
    expect([...batch.kvLens.readSync()]).toEqual([5, 1, 0])
  })

  it('may hold a sequence twice, or none', () => {
    using cache = make()
    const [a] = fill(cache, [3])
    using twice = cache.batch([a!, a!])
    const q = query(2)
    const out = read(pagedAttention(q, cache, twice).out)
    expect([...out]).toEqual(new Array(16).fill(3))
    using none = cache.batch([])
    const noQueries = query(0)
    expect([none.batchSize, none.pageTable.shape, disposeLater(pagedAttention(noQueries, cache, none).out).shape]).toEqual([0, [0, 1], [0, 1, 2, 4]])
  })

  it('is answered after its sequences closed', () => {
    using cache = make()
    const [a] = fill(cache, [3])
    using batch = cache.batch([a!])
    a!.close()
    const q = query(1)
    expect([...read(pagedAttention(q, cache, batch).out)]).toEqual(new Array(8).fill(3))
  })

  it('is refused when forged, disposed or of another cache', () => {
    using cache = make()
    using other = make()
    const [a] = fill(cache, [3])
    using batch = cache.batch([a!])
    const q = query(1)
    const refused = (given: unknown, received: string) =>
      expectError(() => pagedAttention(q, cache, given as PageBatch), argumentError('batch', "a PageBatch made by the cache's batch()", received))
    refused({ pageTable: batch.pageTable, kvLens: batch.kvLens, batchSize: 1 }, 'an object')
    refused(new Proxy(batch, {}), 'a FrozenBatch')
    refused(Object.create(batch), 'a FrozenBatch')
    refused(undefined, 'undefined')
    expectError(() => pagedAttention(q, other, batch), argumentError('batch', 'a batch of this cache', 'a batch of another cache'))
    expectError(() => pagedAttention(q, {} as never, batch), argumentError('cache', 'a PagedKvCache', 'an object'))
    batch.dispose()
    batch.dispose()
    expectError(() => pagedAttention(q, cache, batch), argumentError('batch', 'a live PageBatch', 'a disposed one', 'DISPOSED'))
    cache.dispose()
    expectError(() => pagedAttention(q, cache, batch), argumentError('cache', 'a live PagedKvCache', 'a disposed one', 'DISPOSED'))
  })

  it('of the one kind of cache is refused by the op of the other', () => {
    using kv = make()
    using mla = new MlaKvCache({ numPages: 2, pageSize: 2, kvLoraRank: 4, qkRopeHeadDim: 2, device })
    using kvBatch = kv.batch([])
    using qPe = Tensor.zeros([1, 1, 2, 2], { device })
    const q = query(1)
    expectError(() => mlaDecode(q, qPe, mla, kvBatch, { softmaxScale: 1 }), argumentError('batch', 'a batch of this cache', 'a batch of another cache'))
    expectError(() => mlaDecode(q, qPe, kv as unknown as MlaKvCache, kvBatch, { softmaxScale: 1 }), argumentError('cache', 'a MlaKvCache', 'a PagedKvCache'))
  })

  describe('plans', () => {
    it('name a kernel and are taken by calls of their shape', () => {
      using cache = make()
      const [a, b] = fill(cache, [3, 4])
      using batch = cache.batch([a!, b!])
      using plan = pagedAttention.plan(cache, batch, { qoLen: 1, numQoHeads: 2 })
      expect(plan.kernel).toMatch(/^attention_/)
      expect(plan.numSplits).toBeGreaterThanOrEqual(1)
      expect(plan.workspaceBytes).toBeGreaterThanOrEqual(0)
      const q = query(2)
      const planned = read(pagedAttention(q, cache, batch, { plan }).out)
      expect(planned).toEqual(read(pagedAttention(q, cache, batch).out))
    })

    it('are refused for other shapes, by other ops, when forged and when disposed', () => {
      using cache = make()
      using mla = new MlaKvCache({ numPages: 2, pageSize: 2, kvLoraRank: 4, qkRopeHeadDim: 2, device })
      using batch = cache.batch(fill(cache, [3, 4]))
      using latents = mla.batch([mla.open(), mla.open()])
      const plan = pagedAttention.plan(cache, batch, { qoLen: 1, numQoHeads: 2 })
      using mlaPlan = mlaDecode.plan(mla, latents, { qoLen: 1, numHeads: 2 })
      const q = query(2)
      const longer = query(2, 3)
      using qPe = Tensor.zeros([2, 1, 2, 2], { device })
      expectError(() => pagedAttention(longer, cache, batch, { plan }), argumentError('options.plan', 'a plan for qoLen 3', 'one for qoLen 1'))
      expectError(() => pagedAttention(q, cache, batch, { plan: { ...plan } }), argumentError('options.plan', 'a plan made by pagedAttention.plan()', 'an object'))
      expectError(
        () => pagedAttention(q, cache, batch, { plan: mlaPlan }),
        argumentError('options.plan', 'a plan made by pagedAttention.plan()', 'one made by mlaDecode.plan()'),
      )
      expectError(
        () => mlaDecode(q, qPe, mla, latents, { softmaxScale: 1, plan }),
        argumentError('options.plan', 'a plan made by mlaDecode.plan()', 'one made by pagedAttention.plan()'),
      )
      plan.dispose()
      expectError(() => pagedAttention(q, cache, batch, { plan }), argumentError('options.plan', 'a live plan', 'a disposed one', 'DISPOSED'))
      expectError(
        () => pagedAttention.plan(cache, batch, { qoLen: -1, numQoHeads: 2 }),
        argumentError('shape.qoLen', 'an integer from 0 to 2147483647', '-1'),
      )
    })
  })
})
