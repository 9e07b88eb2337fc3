import type { ResolvedMlaConfig } from './config'

/** expanded: per-head keys and values are built; absorbed: attention over the latents themselves. The same numbers within rounding. */
export type MlaForm = 'expanded' | 'absorbed'

/** Rows that attend, and all that they may attend to. */
export interface MlaWork {
  readonly qoLen: number
  readonly kvLen: number
}

/**
 * The form with fewer multiply-adds. Per head, over `pairs` visible (query, key) pairs:
 *
 * - absorbed: qoLen · kvLoraRank · (qkNopeHeadDim + vHeadDim) for query and output, pairs · (2 kvLoraRank + qkRopeHeadDim)
 * - expanded: kvLen · kvLoraRank · (qkNopeHeadDim + vHeadDim) for keys and values, pairs · (qkNopeHeadDim + qkRopeHeadDim + vHeadDim)
 *
 * At DeepSeek's sizes a sequence of many more keys than queries breaks even at about 170 queries.
 */
export function cheaperForm(config: ResolvedMlaConfig, work: readonly MlaWork[]): MlaForm {
  const { kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, causal } = config
  const upProjection = kvLoraRank * (qkNopeHeadDim + vHeadDim)
  let absorbed = 0
  let expanded = 0
  for (const { qoLen, kvLen } of work) {
    const pairs = qoLen * kvLen - (causal ? (qoLen * (qoLen - 1)) / 2 : 0)
    absorbed += qoLen * upProjection + pairs * (2 * kvLoraRank + qkRopeHeadDim)
    expanded += kvLen * upProjection + pairs * (qkNopeHeadDim + qkRopeHeadDim + vHeadDim)
  }
  return expanded < absorbed ? 'expanded' : 'absorbed'
}
