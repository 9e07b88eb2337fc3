import { Worker } from 'node:worker_threads'
import { devices, flashAttention, linear, rmsNorm, Tensor } from '../../lib/index'
import { expectSameBits } from '../support/compare'

// Small work of the CPU is put off until somebody waits for it: docs/architecture.md.

const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))

it('does what nobody waits for when the event loop comes round', async () => {
  const into = new Float32Array(8).fill(7)
  using x = Tensor.from([1, 2, 3, 4, 5, 6, 7, 8], [1, 8])
  using weight = Tensor.from(new Float32Array(8).fill(1), [8])
  using out = Tensor.wrap(into, [1, 8], 'float32')
  rmsNorm(x, weight, { out })
  expect([...into]).toEqual(new Array(8).fill(7))
  for (let wait = 0; wait < 10_000 && into.includes(7); ++wait) await nextTurn()
  expectSameBits(into, await rmsNorm(x, weight).read())
})

it('lets go of what was put off and disposed', async () => {
  await devices.synchronize()
  const before = devices.memory().tensors
  {
    using x = Tensor.from([1, 2, 3, 4], [1, 4])
    using weight = Tensor.from([1, 1, 1, 1], [4])
    rmsNorm(x, weight).dispose()
  }
  for (let wait = 0; wait < 10_000 && devices.memory().tensors > before; ++wait) await nextTurn()
  expect(devices.memory().tensors).toBeLessThanOrEqual(before)
})

it('gives timers their turns between calls that are done at once', async () => {
  using x = Tensor.from([1, 2, 3, 4], [1, 4])
  let fired = false
  setTimeout(() => (fired = true), 1)
  // If each of these reads resolved without a turn of the event loop, the timer would never fire.
  let reads = 0
  for (; reads < 1_000_000 && !fired; ++reads) await x.read()
  expect(fired).toBe(true)
})

it('computes chains of small and large steps in order, the same bits as one by one', async () => {
  using small = Tensor.randn([16, 16], { seed: 1 })
  using large = Tensor.randn([1, 256, 16, 64], { seed: 2 })
  const chain = async (wait: (tensor: Tensor) => Promise<unknown>): Promise<Float32Array | Int32Array> => {
    using y = Tensor.randn([16, 16], { seed: 3 })
    using weight = Tensor.from(new Float32Array(16).fill(1), [16])
    for (let step = 0; step < 60; ++step) {
      using product = linear(y, small)
      rmsNorm(product, weight, { out: y })
      if (step % 20 === 7) flashAttention(large, large, large, { causal: true }).out.dispose()
      await wait(y)
    }
    return await y.read()
  }
  const atOnce = await chain(() => Promise.resolve())
  expectSameBits(await chain((tensor) => tensor.read()), atOnce)
  expectSameBits(await chain((tensor) => Promise.resolve(tensor.readSync())), atOnce)
  expectSameBits(await chain(() => nextTurn()), atOnce)
})

it('rejects what was read at once after it was disposed, and goes on', async () => {
  const x = Tensor.from([1, 2], [2])
  x.dispose()
  await expect(x.read()).rejects.toThrow('disposed')
  expect([...(await Tensor.from([3], [1]).read())]).toEqual([3])
})

it('drops what a worker put off when the worker ends, and lets go of its memory', async () => {
  await devices.synchronize()
  const before = devices.memory().tensors
  const worker = new Worker(`
    const { rmsNorm, Tensor } = require(${JSON.stringify(require.resolve('../../dist/index.js'))})
    const x = Tensor.from([1, 2, 3, 4], [1, 4])
    rmsNorm(x, Tensor.from([1, 1, 1, 1], [4]))
    process.exit(0)
  `, { eval: true })
  await new Promise((resolve) => worker.once('exit', resolve))
  for (let wait = 0; wait < 10_000 && devices.memory().tensors > before; ++wait) await nextTurn()
  expect(devices.memory().tensors).toBeLessThanOrEqual(before)
})
