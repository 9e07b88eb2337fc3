import { performance } from 'node:perf_hooks'
import { devices } from '../../devices'
import { native } from '../../native'
import { CommandError } from '../command-error'
import type { Spread } from '../compare/report'
import { timeInTurns } from '../compare/schedule'
import { judge } from '../verify/case'
import type { BenchCase, OpenCase } from './case'
import { caseLabel } from './label'
import type { BenchMachine, CaseReport } from './report'
import type { BenchSettings } from './request'
import { roofline } from './roofline'

/** A sample is as many calls as take this long, enqueued one after the other and waited for once. */
const sampleSeconds = 0.005
const maxCalls = 1000
/** What a case gets of the time that others have not used, should its share be gone after the check: the warm-up and two rounds. */
const fewestSamples = 4

/** A case that would take longer than what is left at this share of the peak is not begun. */
const pessimism = 0.1

const now = () => performance.now() / 1000

/** What follows from the case and its time alone; rates and shares need the machine's peaks of the whole run. */
export type Measured = Omit<CaseReport, 'flopRate' | 'byteRate' | 'bound' | 'share' | 'relative'>

/** Checks, then times one case until `deadline`; a text says why it was left out. */
export async function measureCase(
  bench: BenchCase, settings: BenchSettings, machine: BenchMachine, budget: { readonly rounds: number; readonly deadline: number; readonly last: number },
): Promise<Measured | string> {
  const least = roofline(machine, bench.flops, bench.bytes)
  if (now() > budget.last) return 'no time was left'
  if (now() + least.seconds / pessimism > budget.last) return `would take about ${Math.ceil(least.seconds / pessimism)} s`
  const opened = bench.open()
  try {
    const outcome = judge(opened.check())
    if (outcome.failure !== undefined) throw new CommandError(`${caseLabel(bench)} computes wrongly: ${outcome.failure}`)
    const kernels = await kernelsOf(opened, settings)
    const first = await timed(opened, settings)
    const calls = Math.min(maxCalls, Math.max(1, Math.ceil(sampleSeconds / first)))
    const run = async () => {
      for (let call = 0; call < calls; ++call) opened.run()
      await devices.synchronize(settings.device)
    }
    const [entry] = await timeInTurns([{ label: caseLabel(bench), runs: [run] }], {
      rounds: budget.rounds, deadline: Math.min(budget.last, Math.max(budget.deadline, now() + fewestSamples * first * calls)), now, progress: () => undefined,
    })
    if (entry === undefined || 'leftOut' in entry) return entry?.leftOut ?? 'no time was left'
    const [sample] = entry.spreads
    if (sample === undefined) return 'no time was left'
    return {
      op: bench.op, length: bench.length, kernels, flops: bench.flops, bytes: bench.bytes, time: perCall(sample, calls), calls, errorShare: outcome.share,
    }
  } finally {
    opened[Symbol.dispose]()
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

function perCall({ median, lower, upper, min, max, rounds }: Spread, calls: number): Spread {
  return { median: median / calls, lower: lower / calls, upper: upper / calls, min: min / calls, max: max / calls, rounds }
}
