import type { BenchMachine, Bound, Peaks, Rate, Absent } from './report'

export function isRate(rate: Rate | Absent): rate is Rate {
  return 'all' in rate
}

/** The least time that the measured peaks of all threads allow for so many operations and bytes, and which of them it is. */
export function roofline({ peaks, cacheBytes }: Pick<BenchMachine, 'peaks' | 'cacheBytes'>, flops: number, bytes: number): { bound: Bound; seconds: number } {
  const compute = flops / peaks.multiplyAdd.all
  const memory = memoryTier(peaks, cacheBytes, bytes)
  const transfer = bytes / memory.rate
  return compute >= transfer ? { bound: 'compute', seconds: compute } : { bound: memory.bound, seconds: transfer }
}

/** What fits into a quarter of the last cache level is there when a call is repeated; of the rest a virtual machine may see nothing. */
function memoryTier({ memoryRead, cacheRead }: Peaks, cacheBytes: number | null, bytes: number): { bound: 'memory' | 'cache'; rate: number } {
  if (cacheBytes !== null && bytes <= cacheBytes / 4 && isRate(cacheRead)) return { bound: 'cache', rate: cacheRead.all }
  return { bound: 'memory', rate: memoryRead.all }
}
