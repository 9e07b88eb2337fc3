/** Drops thousands of tensors of each kind and prints what memory() says before and after their collection. */
import { devices, linear, Tensor } from '../../../lib/index'

const collect = (globalThis as unknown as { gc(): void }).gc
const weight = Tensor.randn([64, 64], { seed: 1 })

const kinds: Readonly<Record<string, () => unknown>> = {
  owned: () => Tensor.zeros([1000]),
  view: () => Tensor.zeros([10, 100]).slice(0, 3, 4),
  result: () => linear(weight, weight),
  wrapped: () => Tensor.wrap(new Float32Array(1000), [1000], 'float32'),
  reading: () => void Tensor.zeros([1000]).read(),
  disposed: () => Tensor.zeros([1000]).dispose(),
}

async function main(): Promise<void> {
  const answer: Record<string, unknown> = {}
  for (const [kind, make] of Object.entries(kinds)) {
    await devices.synchronize()
    const before = devices.memory()
    for (let i = 0; i < 2000; ++i) make()
    const held = devices.memory()
    // Finalizers run between turns of the event loop, some time after the collection that found the objects.
    for (let turn = 0; turn < 100; ++turn) {
      collect()
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (devices.memory().tensors <= before.tensors) break
    }
    const after = devices.memory()
    answer[kind] = { tensors: after.tensors - before.tensors, bytes: after.bytes - before.bytes, peakRose: held.peakBytes >= before.bytes }
  }
  console.log(JSON.stringify(answer))
}
void main()
