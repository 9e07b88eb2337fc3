import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { devices } from '../../devices'
import { spreadOf } from '../compare/spread'
import { prefillCase } from './attention-cases'
import { type BenchCase, CaseTensors } from './case'
import { type SmallCall, smallCalls } from './enqueue-ops'
import type { BenchMachine, CallCosts, Lateness } from './report'
import type { BenchSettings } from './request'
import { anyPeakOf, rateOf } from './roofline'

const enqueued = 1000
/** The same function in the interpreter, and compiled, are two things: so many calls come before those that count. */
const warmUp = 1000
/** Where a device takes long over them, an op gets so many seconds, but no fewer calls than this. */
const enqueueSeconds = 0.5
const fewestEnqueued = 100
/** The queue is drained between so many calls: memory of a long queue would be measured otherwise. */
const drainEvery = 50
/** Of the prefill behind which ops are enqueued: it computes for longer than the calls in front of a drain take. */
const otherTokens = 128
const reads = 300
const prefillTokens = 2000
const mostPrefillSeconds = 8
/** Of the peak, when nothing has been timed yet. */
const pessimism = 0.1
const timerMs = 1

const now = () => performance.now() / 1000

export async function measureCalls(settings: BenchSettings, machine: Pick<BenchMachine, 'peaks'>): Promise<CallCosts> {
  const tensors = new CaseTensors(settings)
  try {
    const prefill = prefillCase(settings, prefillLength(settings, machine))
    return { enqueue: await enqueueTimes(tensors, settings), read: await readTime(tensors), ...(await timers(prefill, settings)) }
  } finally {
    tensors.dispose()
    await devices.synchronize(settings.device)
  }
}

/**
 * With nothing else to do, when the CPU puts small ops off, and while it computes something, when each op is handed to the queue's thread: the work is
 * in neither.
 */
async function enqueueTimes(tensors: CaseTensors, settings: BenchSettings): Promise<Record<string, number>> {
  const calls = Object.entries(smallCalls(tensors, settings))
  const medians: Record<string, number> = {}
  for (const [name, call] of calls) medians[name] = await enqueueTime(call, settings, () => undefined)
  if (settings.device !== 'cpu') return medians
  using other = prefillCase(settings, otherTokens).open()
  for (const [name, call] of calls) medians[`${name} behind other work`] = await enqueueTime(call, settings, () => { other.run() })
  return medians
}

async function enqueueTime(call: SmallCall, settings: BenchSettings, before: () => void): Promise<number> {
  const samples: number[] = []
  const made: (readonly Disposable[])[] = []
  const middle = now() + enqueueSeconds / 2
  const end = middle + enqueueSeconds / 2
  for (let i = 1; i <= warmUp + enqueued && (samples.length < fewestEnqueued || now() < end); ++i) {
    if (i % drainEvery === 1) before()
    const began = now()
    const outs = call()
    const seconds = now() - began
    if (i > warmUp || began > middle) samples.push(seconds)
    made.push(outs)
    if (i % drainEvery !== 0) continue
    await devices.synchronize(settings.device)
    for (const done of made.splice(0).flat()) done[Symbol.dispose]()
  }
  await devices.synchronize(settings.device)
  for (const done of made.flat()) done[Symbol.dispose]()
  return spreadOf(samples).median
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

/** 2,000 tokens; half of them, or half of that, where the device would take seconds. */
function prefillLength(settings: BenchSettings, { peaks }: Pick<BenchMachine, 'peaks'>): number {
  const seconds = (tokens: number) => prefillCase(settings, tokens).flops / rateOf(peaks, anyPeakOf(peaks)) / pessimism
  let tokens = prefillTokens
  while (tokens > 1 && seconds(tokens) > mostPrefillSeconds) tokens = Math.floor(tokens / 2)
  return tokens
}

/** Timers of 1 ms one after the other: how much later than that they fire. */
async function timers(prefill: BenchCase, { device }: BenchSettings): Promise<Pick<CallCosts, 'timerIdle' | 'timerPrefill'>> {
  using opened = prefill.open()
  await devices.synchronize(device)
  const began = now()
  const timerIdle = await lateness(() => now() - began > 0.2)
  const started = now()
  opened.run()
  let seconds = 0
  const finished = devices.synchronize(device).then(() => { seconds = now() - started })
  const during = await lateness(() => seconds > 0)
  await finished
  return { timerIdle, timerPrefill: { ...during, tokens: prefill.length, seconds } }
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
