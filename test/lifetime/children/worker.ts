/** A worker: attention in a loop, its numbers posted after each; `forever` keeps a deep queue until the worker is terminated. */
import { parentPort, workerData } from 'node:worker_threads'
import { flashAttention, Tensor } from '../../../lib/index'

const { seed, forever } = workerData as { seed: number; forever: boolean }
const len = forever ? 600 : 200

function run(): Promise<Float32Array | Int32Array> {
  const [q, k, v] = [0, 1, 2].map((n) => Tensor.randn([1, len, 4, 64], { seed: 3 * seed + n })) as [Tensor<'float32'>, Tensor<'float32'>, Tensor<'float32'>]
  const { out } = flashAttention(q, k, v, { causal: true })
  const numbers = out.read()
  for (const tensor of [q, k, v, out]) tensor.dispose()
  return numbers
}

async function main(): Promise<void> {
  if (forever) {
    const pending: Promise<unknown>[] = []
    for (let i = 0; i < 40; ++i) pending.push(run())
    parentPort!.postMessage('queued')
    await Promise.all(pending)
  } else {
    let numbers: Float32Array | Int32Array = new Float32Array()
    for (let i = 0; i < 5; ++i) numbers = await run()
    parentPort!.postMessage(Array.from(numbers).slice(0, 1000))
  }
}
void main()
