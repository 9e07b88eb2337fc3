import { devices, pagedAttention, PagedKvCache, Tensor } from '../../lib/index'

it('10,000 decode steps leave memory as it was', () => {
  const before = devices.memory()
  {
    using cache = new PagedKvCache({ numPages: 8, pageSize: 16, numKvHeads: 2, headDimQk: 16 })
    using sequence = cache.open()
    using q = Tensor.randn([1, 1, 4, 16], { seed: 1 })
    using kv = Tensor.randn([1, 1, 2, 16], { seed: 2 })
    const during: number[] = []
    for (let step = 0; step < 10_000; ++step) {
      if (sequence.length === 100) sequence.truncate(step % 7)
      cache.append([sequence], kv, kv)
      const batch = cache.batch([sequence])
      const { out } = pagedAttention(q, cache, batch)
      if (step % 50 === 49) out.readSync() // lets the queue run dry
      out.dispose()
      batch.dispose()
      if (step % 50 === 49) during.push(devices.memory().bytes)
    }
    expect(Math.max(...during) - Math.min(...during)).toBe(0)
  }
  const after = devices.memory()
  expect([after.tensors, after.bytes]).toEqual([before.tensors, before.bytes])
})
