/** `together`: four workers and the main thread compute at once. `terminate`: workers are ended with work in their queue. */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { devices, flashAttention, Tensor } from '../../../lib/index'
import { registerFile } from '../../support/child'

function start(seed: number, forever: boolean): Worker {
  return new Worker(join(__dirname, 'worker.ts'), { workerData: { seed, forever }, execArgv: ['-r', registerFile] })
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
}

function ended(worker: Worker): Promise<number> {
  return new Promise((resolve) => worker.once('exit', resolve))
}

function compute(seed: number): number[] {
  const [q, k, v] = [0, 1, 2].map((n) => Tensor.randn([1, 200, 4, 64], { seed: 3 * seed + n })) as [Tensor<'float32'>, Tensor<'float32'>, Tensor<'float32'>]
  return Array.from(flashAttention(q, k, v, { causal: true }).out.readSync()).slice(0, 1000)
}

async function together(): Promise<unknown> {
  const workers = [1, 2, 3, 4].map((seed) => start(seed, false))
  const codes = Promise.all(workers.map(ended))
  const answers = await Promise.all(workers.map(message))
  const expected = [1, 2, 3, 4].map(compute)
  return { same: answers.map((answer, n) => JSON.stringify(answer) === JSON.stringify(expected[n])), codes: await codes }
}

async function terminate(): Promise<unknown> {
  const before = devices.memory()
  for (let round = 0; round < 6; ++round) {
    const workers = [1, 2].map((seed) => start(seed, true))
    await Promise.all(workers.map(message))
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
  const expected = compute(1)
  const after = JSON.stringify(compute(1)) === JSON.stringify(expected)
  await devices.synchronize()
  return { works: after, tensorsLeft: devices.memory().tensors - before.tensors }
}

void (process.argv[2] === 'together' ? together() : terminate()).then((answer) => console.log(JSON.stringify(answer)))
