import { exact, seconds, spread, times } from '../../report/format'
import { boundText, percent } from '../rows'
import { leastSpeedup, mostEnqueue } from './list'
import type { SweepResult, TargetResult, TargetsReport } from './report'
import type { UnfusedReport } from './unfused'

// The numbers as text: the terminal and docs/benchmarks.md show the same.

export const targetColumns = ['case', 'kernel', 'time', 'target', 'measured', 'met', 'of tile peak', 'of what binds the kernel']

const yes = (met: boolean | null) => (met === null ? '–' : met ? 'yes' : 'no')

const twice = ({ twicePeak, bound }: TargetResult) => (twicePeak && bound === 'compute' ? 'twice the ' : '')

export function targetRows({ targets, speedups, enqueue }: TargetsReport): string[][] {
  return [
    ...targets.map((result) => [
      result.name, result.kernels.join(' + '), `${seconds(result.time.median)} ${spread(result.time)}`, result.target, result.measured, yes(result.met),
      result.tileShare === undefined ? '' : percent(result.tileShare), `${percent(result.share)} of ${twice(result)}${boundText(result)}`,
    ]),
    ...Object.entries(speedups).map(([name, speedup]) => [
      `${name}: two threads`, '', '', `${leastSpeedup}× one thread`, `${speedup.median.toFixed(2)}× ${spread(speedup)}`,
      yes(speedup.median >= leastSpeedup), '', '',
    ]),
    ...Object.entries(enqueue).map(([op, time]) => [`${op} returns after`, '', '', seconds(mostEnqueue), seconds(time), yes(time <= mostEnqueue), '', '']),
  ]
}

export const sweepColumns = ['case', 'heads', 'its fastest op', 'end to end', 'ours', 'faster by', 'kernel alone', 'ours', 'faster by', 'beaten']

export function sweepRows(sweep: readonly SweepResult[]): string[][] {
  return sweep.map(({ op, length, heads, causal, peer }) => {
    const label = caseText(op, length, causal)
    if (typeof peer === 'string') return [label, heads, peer, '–', '–', '–', '–', '–', '–', '–']
    const pairs = [peer.endToEnd, peer.kernel].flatMap((pair) =>
      pair === undefined ? ['–', '–', '–'] : [seconds(pair.peer.median), seconds(pair.ours.median), `${times(pair.ratio.median)} ${spread(pair.ratio)}`],
    )
    return [label, heads, peer.op, ...pairs, peer.endToEnd === undefined ? '–' : yes(peer.endToEnd.ratio.median > 1)]
  })
}

export const unfusedColumns = ['case', 'heads', 'fused', 'unfused', 'faster by', 'not slower']

export function unfusedRows({ shapes }: UnfusedReport): string[][] {
  return shapes.map(({ op, length, heads: [qo, kv], dim, causal, fusedSeconds, unfusedSeconds, unfusedOverFused }) => [
    caseText(op, length, causal), `${qo}/${kv} of ${dim}`, seconds(fusedSeconds), seconds(unfusedSeconds), `${unfusedOverFused.toFixed(2)}×`,
    yes(unfusedOverFused >= 1),
  ])
}

function caseText(op: string, length: number, causal: boolean): string {
  return `${op} ${exact(length)}${op === 'prefill' ? (causal ? ' causal' : ' full') : ''}`
}
