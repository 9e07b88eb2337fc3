import { exact, seconds, spread, times } from '../../report/format'
import { leastSpeedup, mostEnqueue, speedupOf } from './list'
import type { SweepResult, TargetsReport } from './report'

// The numbers as text: the terminal and docs/benchmarks.md show the same.

export const targetColumns = ['case', 'kernel', 'time', 'target', 'measured', 'met']

export function targetRows({ targets, speedup, enqueue }: TargetsReport): string[][] {
  const yes = (met: boolean) => (met ? 'yes' : 'no')
  return [
    ...targets.map(({ name, kernels, time, target, measured, met }) => [
      name, kernels.join(' + '), `${seconds(time.median)} ${spread(time)}`, target, measured, yes(met),
    ]),
    [
      `${speedupOf}: two threads`, '', '', `${leastSpeedup}× one thread`, `${speedup.median.toFixed(2)}× ${spread(speedup)}`,
      yes(speedup.median >= leastSpeedup),
    ],
    ...Object.entries(enqueue).map(([op, time]) => [`${op} returns after`, '', '', seconds(mostEnqueue), seconds(time), yes(time <= mostEnqueue)]),
  ]
}

export const sweepColumns = ['case', 'heads', 'its fastest op', 'end to end', 'ours', 'faster by', 'kernel', 'ours', 'faster by']

export function sweepRows(sweep: readonly SweepResult[]): string[][] {
  return sweep.map(({ op, length, heads, causal, peer }) => {
    const label = `${op} ${exact(length)}${op === 'prefill' ? (causal ? ' causal' : ' full') : ''}`
    if (typeof peer === 'string') return [label, heads, peer, '–', '–', '–', '–', '–', '–']
    const pairs = [peer.endToEnd, peer.kernel].flatMap((pair) =>
      pair === undefined ? ['–', '–', '–'] : [seconds(pair.peer.median), seconds(pair.ours.median), `${times(pair.ratio.median)} ${spread(pair.ratio)}`],
    )
    return [label, heads, peer.op, ...pairs]
  })
}
