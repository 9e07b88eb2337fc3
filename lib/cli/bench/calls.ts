import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { devices } from '../../devices'
import { flashAttention } from '../../ops/flash-attention'
import { linear } from '../../ops/linear'
import { mergeStates } from '../../ops/merge-states'
import { rmsNorm } from '../../ops/rms-norm'
import { rope } from '../../ops/rope'
import { Tensor } from '../../tensor/tensor'
import { spreadOf } from '../compare/spread'
import { CaseTensors } from './case'
import type { CallCosts, Lateness } from './report'
import type { BenchSettings } from './request'

const enqueued = 1000
/** The queue is drained between so many calls: memory of a long queue would be measured otherwise. */
const drainEvery = 50
const reads = 300
const prefillTokens = 2000
const timerMs = 1

const now = () => performance.now() / 1000

export async function measureCalls(settings: BenchSettings): Promise<CallCosts> {
  const tensors = new CaseTensors(settings)
  try {
    return { enqueue: await enqueueTimes(tensors, settings), read: await readTime(tensors), ...(await timers(tensors, settings)) }
  } finally {
    tensors.dispose()
    await devices.synchronize(settings.device)
  }
}

async function enqueueTimes(tensors: CaseTensors, { device }: BenchSettings): Promise<Record<string, number>> {
  const [q, row, weight] = [tensors.normal([1, 1, 1, 8]), tensors.normal([1, 8]), tensors.normal([8, 8])]
  const scale = tensors.normal([8])
  const lse = tensors.keep(Tensor.zeros([1, 1, 1], { device }))
  const ops: Readonly<Record<string, () => Disposable>> = {
    flashAttention: () => flashAttention(q, q, q).out,
    mergeStates: () => {
      const merged = mergeStates([{ out: q, lse }, { out: q, lse }])
      merged.lse.dispose()
      return merged.out
    },
    rope: () => rope(q, { interleaved: false }),
    rmsNorm: () => rmsNorm(row, scale),
    linear: () => linear(row, weight),
  }
  const medians: Record<string, number> = {}
  for (const [name, call] of Object.entries(ops)) {
    const samples: number[] = []
    const outs: Disposable[] = []
    for (let i = 1; i <= enqueued; ++i) {
      const began = now()
      const out = call()
      samples.push(now() - began)
      outs.push(out)
      if (i % drainEvery !== 0) continue
      await devices.synchronize(device)
      for (const done of outs.splice(0)) done[Symbol.dispose]()
    }
    medians[name] = spreadOf(samples).median
  }
  return medians
}

async function readTime(tensors: CaseTensors): Promise<number> {
  const one = tensors.normal([1])
  const samples: number[] = []
  for (let i = 0; i < reads; ++i) {
    const began = now()
    await one.read()
    samples.push(now() - began)
  }
  return spreadOf(samples).median
}

/** Timers of 1 ms one after the other: how much later than that they fire. */
async function timers(tensors: CaseTensors, settings: BenchSettings): Promise<Pick<CallCosts, 'timerIdle' | 'timerPrefill'>> {
  const { batch, numQoHeads, numKvHeads, headDimQk, headDimVo, device } = settings
  const q = tensors.normal([batch, prefillTokens, numQoHeads, headDimQk])
  const k = tensors.normal([batch, prefillTokens, numKvHeads, headDimQk])
  const v = tensors.normal([batch, prefillTokens, numKvHeads, headDimVo])
  const out = tensors.out([batch, prefillTokens, numQoHeads, headDimVo])
  await devices.synchronize(device)
  const began = now()
  const timerIdle = await lateness(() => now() - began > 0.2)
  const started = now()
  flashAttention(q, k, v, { causal: true, out })
  let seconds = 0
  const finished = devices.synchronize(device).then(() => { seconds = now() - started })
  const during = await lateness(() => seconds > 0)
  await finished
  return { timerIdle, timerPrefill: { ...during, tokens: prefillTokens, seconds } }
}

async function lateness(done: () => boolean): Promise<Lateness> {
  const samples: number[] = []
  do {
    const began = now()
    await setTimeout(timerMs)
    samples.push(Math.max(0, now() - began - timerMs / 1000))
  } while (!done())
  const { median, max } = spreadOf(samples)
  return { median, max, timers: samples.length }
}
