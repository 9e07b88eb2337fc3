import type { Measured } from '../measure'
import type { BenchMachine } from '../report'
import { computePeakOf, rateOf, roofline } from '../roofline'
import { percent } from '../rows'
import type { Against, Target } from './list'
import type { TargetResult } from './report'

/** Holds one measured target against the peaks of the whole run. */
export function judged(target: Target, measured: ReadonlyMap<string, Measured>, machine: BenchMachine): TargetResult {
  const { kernels, time, flops, bytes } = measured.get(target.name)!
  const { peaks } = machine
  const [flopRate, byteRate] = [flops / time.median, bytes / time.median]
  const compute = computePeakOf(kernels, peaks)
  const least = roofline(machine, { flops, bytes, compute, cold: target.settings.cold ?? false })
  const share = least.seconds / time.median
  const tileShare = target.settings.dtype === 'bfloat16' && rateOf(peaks, 'bf16Tile') > 0 ? flopRate / rateOf(peaks, 'bf16Tile') : undefined
  const facts = { name: target.name, kernels, time, flopRate, byteRate, bound: least.bound, compute, share, ...(tileShare !== undefined && { tileShare }) }
  if (target.beside) {
    const other = measured.get(target.beside.name)
    const ratio = other ? flopRate / (other.flops / other.time.median) : NaN
    const words = `${percent(target.beside.least)} of the rate of ${target.beside.name}`
    return { ...facts, target: words, measured: percent(ratio), met: ratio >= target.beside.least }
  }
  const shares = (target.shares ?? []).map(({ against, least: wanted }) => ({ ...shareOf(against), wanted }))
  return {
    ...facts, target: shares.map(({ wanted, words }) => `${percent(wanted)} of ${words}`).join(' or '),
    measured: shares.map((one) => percent(one.share)).join(' or '), met: shares.some((one) => one.share >= one.wanted),
  }

  function shareOf(against: Against): { readonly share: number; readonly words: string } {
    const multiplyAdd = { share: flopRate / rateOf(peaks, 'multiplyAdd'), words: 'the multiply-add peak' }
    switch (against) {
      case 'memory':
        return { share: byteRate / rateOf(peaks, 'memoryRead'), words: 'memory bandwidth' }
      case 'roofline':
        return { share, words: 'the bandwidth or peak that binds' }
      case 'dot':
        if (rateOf(peaks, 'bf16Dot') > 0) return { share: flopRate / rateOf(peaks, 'bf16Dot'), words: 'the bfloat16 dot peak' }
        return { ...multiplyAdd, words: 'the multiply-add peak (no bfloat16 dot here)' }
      case 'multiplyAdd':
        return multiplyAdd
    }
  }
}
