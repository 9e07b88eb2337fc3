import type { Spread } from './report'

/** Quartiles by linear interpolation between the sorted samples. */
export function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  const quantile = (share: number) => {
    const at = share * (sorted.length - 1)
    const below = sorted[Math.floor(at)] ?? NaN
    const above = sorted[Math.ceil(at)] ?? NaN
    return below + (above - below) * (at - Math.floor(at))
  }
  return { median: quantile(0.5), lower: quantile(0.25), upper: quantile(0.75), min: quantile(0), max: quantile(1), rounds: sorted.length }
}

/** Times closer than this are not told apart, however narrow their spread: two runs on one machine differ by as much. */
const sameTime = 0.05

/** With fewer rounds the quartiles say nothing. */
const fewestRounds = 3

/** The quartiles of enough rounds do not overlap, and the medians differ by more than runs do. */
export function clearlyFaster(a: Spread, b: Spread): boolean {
  return Math.min(a.rounds, b.rounds) >= fewestRounds && a.upper < b.lower && b.median / a.median > 1 + sameTime
}
