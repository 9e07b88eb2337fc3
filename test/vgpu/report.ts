// Reads what VGPU_REPORT collects: one line per launch.
import { existsSync, readFileSync } from 'node:fs'

export interface Traffic {
  address: number
  loadedBytes: number
  uniqueLoadedBytes: number
  storedBytes: number
  uniqueStoredBytes: number
}

export interface LaunchReport {
  kernel: string
  device: number
  grid: [number, number, number]
  block: [number, number, number]
  dynamicShared: number
  warpInstructions: number
  /** Bytes the kernel asked for, cp.async among them. */
  globalLoadedBytes: number
  globalStoredBytes: number
  /** 32-byte pieces touched by ld and st, summed over warp instructions. */
  globalSectors: number
  cpAsyncBytes: number
  /** Groups of lanes that shared memory serves together, and the cycles they take: equal where nothing conflicts. */
  sharedPhases: number
  sharedWays: number
  /** Of mma.sync; those of wgmma follow. */
  mmaFlops: number
  /** Each by a whole warpgroup. */
  wgmmas: number
  wgmmaFlops: number
  barriers: number
  /** Bulk and tensor copies in both directions, and the bytes of their whole boxes, as mbarriers count them. */
  tmaCopies: number
  tmaBytes: number
  /** Waits for an mbarrier that succeeded. */
  mbarrierWaits: number
  instructions: Record<string, number>
  traffic: Traffic[]
  /** What the checker found, by name; absent when nothing. */
  finding?: string
  text?: string
}

export function readReport(file: string): LaunchReport[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as LaunchReport)
}
