import { exact, seconds, short, spread, times } from '../report/format'
import { caseLabel } from './label'
import type { PairedTimes } from './peers/peer'
import { type BenchMachine, type Bound, type CallCosts, type CaseReport, type ComputePeak, type PeakName, computePeaks, memoryPeaks } from './report'
import { isRate } from './roofline'

// The numbers as text: the terminal, the page and docs/benchmarks.md show the same.

/** Columns of words, by their titles. */
export function isText(column: string): boolean {
  return ['case', 'kernel', 'bound by', 'peer', 'its other ways'].includes(column)
}

export function giga(rate: number): string {
  return short(rate / 1e9)
}

export function percent(share: number): string {
  return `${share < 0.0995 ? (share * 100).toPrecision(2) : Math.round(share * 100)}%`
}

export const peakTitles: Readonly<Record<PeakName, string>> = {
  multiplyAdd: 'float32 multiply-add', bf16Dot: 'bfloat16 dot product', bf16Tile: 'bfloat16 tile product', matmul: 'bfloat16 matrix product',
  memoryRead: 'memory read', cacheRead: 'last cache level read', copy: 'memory copy',
}

/** Peaks that this device does not have, or that were not measured at the time, have no line. */
export function peakRows({ peaks }: Pick<BenchMachine, 'peaks'>): string[][] {
  const rows = (names: readonly PeakName[], unit: string) => names.flatMap((name) => {
    const rate = peaks[name]
    if (rate === undefined) return []
    if (!isRate(rate)) return [[peakTitles[name], '–', '–', `absent: ${rate.absent}`]]
    return [[peakTitles[name], rate.one === undefined ? '–' : giga(rate.one), giga(rate.all), unit]]
  })
  return [...rows(computePeaks, 'GFLOP/s'), ...rows(memoryPeaks, 'GB/s')]
}

/** Results up to 2026-11-23 do not name the peak: there was one. */
export function boundText({ bound, compute }: { readonly bound: Bound; readonly compute?: ComputePeak }): string {
  return bound !== 'compute' || compute === undefined ? bound : peakTitles[compute]
}

const isCompared = (cases: readonly CaseReport[]): boolean => cases.some((entry) => entry.relative !== undefined)

export function caseColumns(cases: readonly CaseReport[]): string[] {
  return ['case', 'kernel', 'time', 'spread', 'GFLOP/s', 'GB/s', 'of peak', 'bound by', ...(isCompared(cases) ? ['vs before'] : [])]
}

/** One line of the table of `cases`. */
export function caseRow(entry: CaseReport, cases: readonly CaseReport[]): string[] {
  return [
    caseLabel(entry), entry.kernels.join(' + '), seconds(entry.time.median), spread(entry.time),
    entry.flops === 0 ? '–' : giga(entry.flopRate), giga(entry.byteRate),
    percent(entry.share), boundText(entry), ...(isCompared(cases) ? [entry.relative === undefined ? '–' : entry.relative.toFixed(2)] : []),
  ]
}

export const peerColumns = ['case', 'peer', 'end to end', 'ours', 'faster by', 'kernel alone', 'ours', 'faster by', 'its other ways']

/** One line per case that was timed beside a peer. */
export function peerRows(cases: readonly CaseReport[]): string[][] {
  return cases.flatMap((entry) => {
    if (entry.peer === undefined) return []
    const { name, version, op, endToEnd, kernel, others } = entry.peer
    const pair = (of: PairedTimes | undefined) => (of === undefined ? ['–', '–', '–'] : shown(of))
    const shown = ({ peer, ours, ratio }: PairedTimes) => [seconds(peer.median), seconds(ours.median), `${times(ratio.median)} ${spread(ratio)}`]
    const ways = others.map((other) => `${other.op}: ${'refused' in other ? other.refused : seconds(other.seconds)}`)
    return [[caseLabel(entry), `${name} ${version} ${op}`, ...pair(endToEnd), ...pair(kernel), ways.join('; ')]]
  })
}

export function callRows({ enqueue, read, timerIdle, timerPrefill }: CallCosts): string[][] {
  const late = ({ median, max }: { readonly median: number; readonly max: number }) => `${seconds(median)} (longest ${seconds(max)})`
  return [
    ...Object.entries(enqueue).map(([op, time]) => [`${op} returns after`, seconds(time)]),
    ['await read() of one number', seconds(read)],
    ['timer of 1 ms late, idle', late(timerIdle)],
    [`timer of 1 ms late, during a prefill of ${exact(timerPrefill.tokens)} (${seconds(timerPrefill.seconds)})`, late(timerPrefill)],
  ]
}
