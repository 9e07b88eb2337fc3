import { ArgumentError } from '../../../errors'
import { exact } from '../../report/format'
import type { BenchOp, CaseSettings } from '../request'

/** What a GPU target asks for, of one call with everything that it launches: sums over splits are in the time. */
export type GpuGoal =
  /** At least the speed of cuDNN's attention, called by PyTorch, in the same run. */
  | { readonly kind: 'cudnn' }
  /** Operations per second; `source` says whose figure it is. */
  | { readonly kind: 'rate'; readonly least: number; readonly source: string }
  /** Unique bytes per second over the copy bandwidth of the same run. */
  | { readonly kind: 'copy'; readonly least: number }
  /** Seconds. */
  | { readonly kind: 'time'; readonly most: number }

export interface GpuTarget {
  readonly name: string
  readonly op: BenchOp
  readonly length: number
  readonly settings: Partial<CaseSettings>
  readonly goal: GpuGoal
}

// All of it with `cold`: what is smaller than the L2 cache takes turns over 256 MiB.
const given = { dtype: 'bfloat16', cold: true } as const
const llama = { ...given, numQoHeads: 64, numKvHeads: 8, headDimQk: 128, headDimVo: 128 } as const
const expanded = { ...given, numQoHeads: 128, numKvHeads: 128, headDimQk: 192, headDimVo: 128 } as const
const latent = { ...given, batch: 128, mlaPageSize: 64, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64 } as const
const paged = { ...given, batch: 64, numQoHeads: 32, numKvHeads: 8, headDimQk: 128, headDimVo: 128 } as const

const cudnn: GpuGoal = { kind: 'cudnn' }
const masks = [[true, 'causal'], [false, 'full']] as const
// cudnn-frontend, benchmark/sdpa_benchmark_training/results/h200_919_only_cudnn: Llama 3.1, float8_e4m3, causal.
const float8Rates = [[8192, 964e12], [16384, 1010e12]] as const
const float8Source = 'published for cuDNN 9.19.1 on an H200'
// FlashMLA's README, dense decoding where arithmetic binds, on an H800.
const flashMla: GpuGoal = { kind: 'rate', least: 660e12, source: 'published for FlashMLA on an H800' }
const skewed = [4641, 45118, 1730, 1696]

/** What the kernels for compute capability 9.0 are measured by. */
export const gpuTargets: readonly GpuTarget[] = [
  ...masks.flatMap(([causal, mask]) => [4096, 8192, 16384].map((length): GpuTarget => ({
    name: `prefill bfloat16, ${exact(length)}, ${mask}, 64/8 heads`, op: 'prefill', length, settings: { ...llama, causal }, goal: cudnn,
  }))),
  ...[4096, 8192].map((length): GpuTarget => ({
    name: `prefill bfloat16, ${exact(length)}, causal, 128 heads of 192/128`, op: 'prefill', length, settings: expanded, goal: cudnn,
  })),
  ...float8Rates.map(([length, least]): GpuTarget => ({
    name: `prefill float8_e4m3, ${exact(length)}, causal, 64/8 heads`, op: 'prefill', length, settings: { ...llama, inputDType: 'float8_e4m3' },
    goal: { kind: 'rate', least, source: float8Source },
  })),
  ...[1, 2].flatMap((qoLen) => [4096, 8192, 16384, 32768].map((length): GpuTarget => ({
    name: `MLA decode bfloat16, 128 sequences of ${exact(length)}, 128 heads, ${qoLen === 1 ? '1 token' : `${qoLen} tokens`}`, op: 'mla-decode', length,
    settings: { ...latent, numQoHeads: 128, qoLen }, goal: flashMla,
  }))),
  ...[4096, 8192, 16384, 32768].map((length): GpuTarget => ({
    name: `MLA decode bfloat16, 128 sequences of ${exact(length)}, 16 heads`, op: 'mla-decode', length, settings: { ...latent, numQoHeads: 16 },
    goal: { kind: 'copy', least: 0.9 },
  })),
  {
    name: `MLA decode bfloat16, sequences of ${skewed.map(exact).join(' · ')}, 16 heads, 4 tokens`, op: 'mla-decode', length: Math.max(...skewed),
    settings: { ...latent, batch: skewed.length, kvLens: skewed, numQoHeads: 16, qoLen: 4 }, goal: { kind: 'time', most: 41e-6 },
  },
  ...[16, 64].map((pageSize): GpuTarget => ({
    name: `decode bfloat16, 64 sequences of 8,192, pages of ${pageSize}, 32/8 heads`, op: 'paged', length: 8192, settings: { ...paged, pageSize },
    goal: { kind: 'copy', least: 0.9 },
  })),
]

const scaledBatch = 2
const scaledHeads = 8
const leastPeakMatmul = 64
const leastPeakCopy = 2 ** 16

/**
 * The same kinds of shapes with lengths over `scale`, two sequences and an eighth of the heads: enough to try every step where computing is
 * slow. What is measured so is no result.
 */
export function scaled(target: GpuTarget, scale: number): GpuTarget {
  if (scale === 1) return target
  const { settings: { batch = 1, numQoHeads = 1, numKvHeads = 1, qoLen = 1, kvLens, ...others }, length, name, ...rest } = target
  // Every query sees a key.
  const shorter = (len: number) => Math.max(qoLen, Math.ceil(len / scale))
  const fewer = (heads: number) => Math.max(1, Math.floor(heads / scaledHeads))
  return {
    ...rest, name: `${name} (over ${scale})`, length: shorter(length),
    settings: {
      ...others, qoLen, cold: false, batch: Math.min(batch, scaledBatch), numQoHeads: fewer(numQoHeads), numKvHeads: fewer(numKvHeads),
      ...(kvLens && { kvLens: kvLens.map(shorter) }),
    },
  }
}

/** What the peaks are measured with at a scale. */
export function scaledPeaks<T extends { readonly peakMatmul: number; readonly peakCopy: number }>(settings: T, scale: number): T {
  return {
    ...settings, peakMatmul: Math.max(leastPeakMatmul, Math.ceil(settings.peakMatmul / scale)),
    peakCopy: Math.max(leastPeakCopy, Math.ceil(settings.peakCopy / scale / scale)),
  }
}

/** A figure that others could take for the device's is not kept. */
export function checkUnscaled(scale: number, save: boolean): void {
  if (save && scale !== 1) throw new ArgumentError('--save', 'shapes that are not scaled: no --scale', `--scale ${scale}`)
}
