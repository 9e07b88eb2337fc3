import type { AttentionArrays, AttentionDims, ReferenceOptions } from '../reference/attention'
import { roundAll, type RoundedDType } from '../reference/rounding'
import { Random } from './random'

/** One attention problem: small, with its options as plain numbers. */
export interface AttentionCase extends AttentionDims {
  readonly options: ReferenceOptions
}

const base: AttentionCase = { batch: 1, qoLen: 5, kvLen: 9, numQoHeads: 4, numKvHeads: 2, headDimQk: 64, headDimVo: 64, options: {} }

export function attentionCase(overrides: Partial<AttentionCase>): AttentionCase {
  const headDimQk = overrides.headDimQk ?? base.headDimQk
  return { ...base, headDimVo: headDimQk, ...overrides }
}

/** As a test title: `2x5/9 4/2 heads 64/64 {"causal":true}`. */
export function caseName(c: AttentionCase): string {
  const options = JSON.stringify(c.options, (_, value: unknown) => (ArrayBuffer.isView(value) ? '…' : value))
  return `${c.batch}x${c.qoLen}/${c.kvLen} ${c.numQoHeads}/${c.numKvHeads} heads ${c.headDimQk}/${c.headDimVo} ${options}`
}

/** Arrays that a test may write to. */
export interface RandomArrays extends AttentionArrays {
  readonly q: Float64Array
  readonly k: Float64Array
  readonly v: Float64Array
}

/** Random q, k, v that `dtype` holds exactly, so that only the computation rounds. */
export function makeArrays(dims: AttentionDims, dtype: RoundedDType, seed: number): RandomArrays {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo } = dims
  const random = new Random(seed)
  return {
    batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo,
    q: roundAll(dtype, random.normals(batch * qoLen * numQoHeads * headDimQk)),
    k: roundAll(dtype, random.normals(batch * kvLen * numKvHeads * headDimQk)),
    v: roundAll(dtype, random.normals(batch * kvLen * numKvHeads * headDimVo)),
  }
}

/** Lengths around tile edges, more queries than keys, and nothing at all on either side. */
const lengths: readonly (readonly [number, number])[] = [
  [1, 1], [1, 239], [3, 799], [113, 203], [128, 217], [127, 513], [239, 1], [799, 3], [0, 5], [5, 0], [0, 0], [64, 64], [65, 63], [63, 65],
  [16, 127], [16, 128], [16, 129], [1, 2048], [1, 2049],
]
const groups: readonly (readonly [number, number])[] = [
  [1, 1], [4, 4], [4, 2], [6, 2], [10, 2], [14, 2], [8, 1], [12, 1], [16, 1], [32, 1], [63, 1],
]
const headDims: readonly (readonly [number, number])[] = [
  [1, 1], [3, 3], [8, 8], [20, 20], [40, 40], [59, 59], [64, 64], [80, 80], [96, 96], [111, 111], [128, 128], [160, 160], [192, 128], [256, 256],
  [576, 512], [64, 512], [40, 7], [7, 40],
]

/** Shapes: the lengths, head counts and head dims of the tables above, and batches. */
export const attentionCases: readonly AttentionCase[] = [
  ...lengths.flatMap(([qoLen, kvLen]) => [
    attentionCase({ qoLen, kvLen, numQoHeads: 2, numKvHeads: 1, headDimQk: 32 }),
    attentionCase({ qoLen, kvLen, numQoHeads: 2, numKvHeads: 1, headDimQk: 32, options: { causal: true } }),
  ]),
  ...groups.flatMap(([numQoHeads, numKvHeads]) => [
    attentionCase({ numQoHeads, numKvHeads, headDimQk: 16, qoLen: 1, kvLen: 70 }),
    attentionCase({ numQoHeads, numKvHeads, headDimQk: 16, qoLen: 19, kvLen: 40, options: { causal: true } }),
  ]),
  ...headDims.flatMap(([headDimQk, headDimVo]) => [
    attentionCase({ headDimQk, headDimVo, qoLen: 1, kvLen: 67 }),
    attentionCase({ headDimQk, headDimVo, qoLen: 17, kvLen: 67, numQoHeads: 2, options: { causal: true } }),
  ]),
  // Rows for more than one tile at every width that kernels have tiles for.
  ...([[64, 64], [96, 96], [128, 128], [192, 128], [160, 160], [256, 256]] as const).map(([headDimQk, headDimVo]) =>
    attentionCase({ headDimQk, headDimVo, qoLen: 75, kvLen: 140, options: { causal: true } }),
  ),
  attentionCase({ batch: 3, qoLen: 31, kvLen: 45, options: { causal: true } }),
  attentionCase({ batch: 5, qoLen: 1, kvLen: 300, numQoHeads: 8 }),
  attentionCase({ batch: 0, qoLen: 3, kvLen: 4 }),
  attentionCase({ qoLen: 1, kvLen: 32769, numQoHeads: 2, numKvHeads: 1, headDimQk: 8 }),
]

const alibi = (heads: number): Float32Array => Float32Array.from({ length: heads }, (_, h) => 2 ** (-8 * (h + 1) / heads))

/** Every option, alone and with those that it meets in real models. */
export const optionCases: readonly AttentionCase[] = [
  // Windows: both sides, one side, only the diagonal, wider than the keys, rows that see nothing.
  ...[{ left: 0, right: 0 }, { left: 7, right: 0 }, { left: 13, right: 13 }, { left: 0, right: 5 }, { left: 1000, right: 1000 }, { left: 3 }, { right: 3 }].flatMap(
    (window) => [
      attentionCase({ qoLen: 50, kvLen: 83, headDimQk: 24, options: { window } }),
      attentionCase({ qoLen: 83, kvLen: 50, headDimQk: 24, options: { window } }),
      attentionCase({ qoLen: 50, kvLen: 83, headDimQk: 24, options: { window, causal: true } }),
    ],
  ),
  attentionCase({ qoLen: 1, kvLen: 700, headDimQk: 24, options: { window: { left: 100 }, causal: true } }),
  attentionCase({ qoLen: 200, kvLen: 700, headDimQk: 24, options: { window: { left: 100 }, causal: true } }),
  // ALiBi, one set of slopes or one per sequence.
  attentionCase({ qoLen: 20, kvLen: 33, options: { alibiSlopes: alibi(4) } }),
  attentionCase({ qoLen: 33, kvLen: 20, options: { alibiSlopes: alibi(4), causal: true } }),
  attentionCase({ batch: 2, qoLen: 20, kvLen: 33, options: { alibiSlopes: alibi(8), causal: true } }),
  attentionCase({ batch: 2, qoLen: 1, kvLen: 133, options: { alibiSlopes: alibi(8) } }),
  // Sinks, also for rows that see no key.
  attentionCase({ qoLen: 12, kvLen: 30, options: { sinks: [0.5, -3, 4, 0] } }),
  attentionCase({ qoLen: 30, kvLen: 12, options: { sinks: [0.5, -3, 4, 0], causal: true } }),
  attentionCase({ qoLen: 1, kvLen: 600, options: { sinks: [0.5, -3, -Infinity, 20] } }),
  attentionCase({ qoLen: 4, kvLen: 0, options: { sinks: [0.5, -3, -Infinity, 20] } }),
  // Softcap.
  ...[1, 15, 50].flatMap((logitSoftcap) => [
    attentionCase({ qoLen: 21, kvLen: 64, options: { logitSoftcap, causal: true } }),
    attentionCase({ qoLen: 1, kvLen: 164, options: { logitSoftcap, softmaxScale: 1 } }),
  ]),
  // Scales: small, large, negative, none.
  ...[0.01, 1, -0.3, 0].map((softmaxScale) => attentionCase({ qoLen: 9, kvLen: 31, options: { softmaxScale, causal: true } })),
  // Lengths per sequence.
  attentionCase({ batch: 4, qoLen: 3, kvLen: 90, options: { kvLens: [90, 1, 0, 64] } }),
  attentionCase({ batch: 4, qoLen: 3, kvLen: 90, options: { kvLens: [90, 1, 0, 64], causal: true } }),
  attentionCase({ batch: 3, qoLen: 1, kvLen: 900, options: { kvLens: [899, 257, 2], causal: true } }),
  // Far fewer keys than there could be, with rows enough for several tiles: what was planned for the most has to do for them.
  attentionCase({ batch: 2, qoLen: 300, kvLen: 2100, headDimQk: 32, options: { kvLens: [130, 2099], causal: true } }),
  // All at once.
  attentionCase({
    batch: 2, qoLen: 17, kvLen: 150, numQoHeads: 6, numKvHeads: 2, headDimQk: 96, headDimVo: 64,
    options: { causal: true, window: { left: 40 }, logitSoftcap: 20, alibiSlopes: alibi(6), sinks: [1, 0, -1, 2, -2, 0], kvLens: [149, 30] },
  }),
]
