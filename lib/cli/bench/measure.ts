import { performance } from 'node:perf_hooks'
import { devices } from '../../devices'
import { native } from '../../native'
import { CommandError } from '../command-error'
import { spreadOf } from '../compare/spread'
import { judge } from '../verify/case'
import type { BenchCase, OpenCase } from './case'
import { caseLabel } from './label'
import type { BenchMachine, CaseReport } from './report'
import type { BenchSettings } from './request'
import { anyPeakOf, roofline } from './roofline'

/** A sample is as many calls as take this long, enqueued one after the other and waited for once. */
const sampleSeconds = 0.005
const maxCalls = 1000
/** With `cold`, a case is repeated in as much memory as this at least, and twice the last cache level. */
const leastCold = 2 ** 28
/** However late a case is, it is timed for so long, or for one round. */
const leastTiming = 0.1
/** A case that would take longer than what is left at this share of the peak is not begun. */
const pessimism = 0.1

const now = () => performance.now() / 1000

/** What follows from the case and its time alone; rates and shares need the machine's peaks of the whole run. */
export type Measured = Omit<CaseReport, 'flopRate' | 'byteRate' | 'bound' | 'compute' | 'share' | 'relative'>

/** In the clock's seconds, but for `rounds`, `sure` and `timing`. */
export interface CaseBudget {
  readonly rounds: number
  /** When the case has had its share. */
  readonly deadline: number
  /** When all cases have to be over. */
  readonly last: number
  /** A case that should take no longer is timed, however late it is. */
  readonly sure: number
  /** Instead of `deadline`: from the first timed call on, whatever it took to make the numbers. */
  readonly timing?: number
}

/** Checks, then times one case until `deadline`; a text says why it was left out. */
export async function measureCase(bench: BenchCase, settings: BenchSettings, machine: BenchMachine, budget: CaseBudget): Promise<Measured | string> {
  const { cold } = settings
  const expected = roofline(machine, { flops: bench.flops, bytes: bench.bytes, compute: anyPeakOf(machine.peaks), cold }).seconds / pessimism
  if (expected > budget.sure && now() + expected > budget.last) return `would take about ${Math.ceil(expected)} s`
  const opened = bench.open()
  const places = [opened]
  try {
    const outcome = judge(opened.check())
    if (outcome.failure !== undefined) throw new CommandError(`${caseLabel(bench)} computes wrongly: ${outcome.failure}`)
    const kernels = await kernelsOf(opened, settings)
    const first = await timed(opened, settings)
    const calls = Math.min(maxCalls, Math.max(1, Math.ceil(sampleSeconds / first)))
    // Until a place has its turn again, the others have taken the caches.
    const numPlaces = cold ? Math.ceil(Math.max(leastCold, 2 * (machine.cacheBytes ?? 0)) / bench.bytes) : 1
    while (places.length < numPlaces) places.push(opened.again())
    await devices.synchronize(settings.device)
    let turn = 0
    const sample = async () => {
      const began = now()
      for (let call = 0; call < calls; ++call) places[turn++ % numPlaces]!.run()
      await devices.synchronize(settings.device)
      return now() - began
    }
    let taken = NaN
    // Does not count: at least a sample, and every place once.
    do taken = await sample(); while (turn < numPlaces)
    const deadline = Math.max(Math.min(budget.last, budget.timing === undefined ? budget.deadline : now() + budget.timing), now() + leastTiming)
    const samples: number[] = []
    while (samples.length === 0 || (samples.length < budget.rounds && now() + taken < deadline)) {
      taken = await sample()
      samples.push(taken / calls)
    }
    return {
      op: bench.op, length: bench.length, kernels, flops: bench.flops, bytes: bench.bytes, time: spreadOf(samples), calls, errorShare: outcome.share,
    }
  } finally {
    for (const place of places) place[Symbol.dispose]()
    await devices.synchronize(settings.device)
  }
}

/** The kernels that one call ran, by the counters of the registry. */
async function kernelsOf(opened: OpenCase, { device }: BenchSettings): Promise<readonly string[]> {
  await devices.synchronize(device)
  const before = new Map(native.kernels().map(({ name, runs }) => [name, runs]))
  opened.run()
  await devices.synchronize(device)
  return native.kernels().flatMap(({ name, runs }) => (runs > (before.get(name) ?? 0) ? [name] : []))
}

async function timed(opened: OpenCase, { device }: BenchSettings): Promise<number> {
  const began = now()
  opened.run()
  await devices.synchronize(device)
  return now() - began
}
