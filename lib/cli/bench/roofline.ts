import { native } from '../../native'
import type { BenchMachine, Bound, ComputePeak, PeakName, Peaks, Rate, Absent } from './report'

export function isRate(rate: Rate | Absent | undefined): rate is Rate {
  return rate !== undefined && 'all' in rate
}

/** Of all threads; 0 where the machine has no such peak. */
export function rateOf(peaks: Peaks, name: PeakName): number {
  const rate = peaks[name]
  return isRate(rate) ? rate.all : 0
}

/** The peak of the instructions that these kernels compute with; of several kernels the highest one. */
export function computePeakOf(kernels: readonly string[], peaks: Peaks): ComputePeak {
  const units = native.kernels().filter(({ name }) => kernels.includes(name)).map(({ device, arch }) => unitOf(device, arch))
  return units.filter((unit) => rateOf(peaks, unit) > 0).sort((a, b) => rateOf(peaks, b) - rateOf(peaks, a))[0] ?? anyPeakOf(peaks)
}

/** For work of which nobody knows yet which kernel runs it. */
export function anyPeakOf(peaks: Peaks): ComputePeak {
  return rateOf(peaks, 'multiplyAdd') > 0 ? 'multiplyAdd' : 'matmul'
}

function unitOf(device: string, arch: string): ComputePeak {
  if (device !== 'cpu') return 'matmul'
  if (arch === 'amx') return 'bf16Tile'
  return arch === 'avx512bf16' ? 'bf16Dot' : 'multiplyAdd'
}

export interface Work {
  readonly flops: number
  readonly bytes: number
  /** The peak that the operations are held against. */
  readonly compute: ComputePeak
  /** Nothing of the data is in a cache when the work begins. */
  readonly cold: boolean
}

/** The least time that the measured peaks of all threads allow, and which of them it is. */
export function roofline(
  { peaks, cacheBytes }: Pick<BenchMachine, 'peaks' | 'cacheBytes'>, { flops, bytes, compute, cold }: Work,
): { bound: Bound; seconds: number } {
  const arithmetic = flops / rateOf(peaks, compute)
  const memory = memoryTier(peaks, cold ? null : cacheBytes, bytes)
  const transfer = bytes / memory.rate
  return arithmetic >= transfer ? { bound: 'compute', seconds: arithmetic } : { bound: memory.bound, seconds: transfer }
}

/** What fits into a quarter of the last cache level is there when a call is repeated; of the rest a virtual machine may see nothing. */
function memoryTier(peaks: Peaks, cacheBytes: number | null, bytes: number): { bound: 'memory' | 'cache'; rate: number } {
  if (cacheBytes !== null && bytes <= cacheBytes / 4 && isRate(peaks.cacheRead)) return { bound: 'cache', rate: peaks.cacheRead.all }
  return { bound: 'memory', rate: rateOf(peaks, 'memoryRead') || rateOf(peaks, 'copy') }
}
