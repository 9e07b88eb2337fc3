import { invoke, native } from '../native'
import { handleOf, type FloatTensor, type IndexTensor } from '../tensor/tensor'
import { attentionOptions, attentionResult, type AttentionResult } from './options'

export interface MlaPrefillOptions<L extends boolean = false> {
  readonly softmaxScale: number
  readonly causal: boolean
  readonly returnLse?: L
  readonly out?: FloatTensor
}

/** Queries and keys of [nope | rope] in their two parts, the values, and how many rows of each sequence are valid (default: all). */
export interface MlaPrefillInputs {
  /** [batch, qoLen, numHeads, qkNopeHeadDim] */
  readonly qNope: FloatTensor
  /** [batch, qoLen, numHeads, qkRopeHeadDim] */
  readonly qPe: FloatTensor
  /** [batch, kvLen, numHeads, qkNopeHeadDim] */
  readonly kNope: FloatTensor
  /** [batch, kvLen, qkRopeHeadDim]: one rope key for all heads, never copied. */
  readonly kPe: FloatTensor
  /** [batch, kvLen, numHeads, vHeadDim] */
  readonly v: FloatTensor
  /** [batch] int32 */
  readonly kvLens?: IndexTensor
  readonly qoLens?: Int32Array
}

/** The expanded form of multi-head latent attention: attention over per-head keys and values -> out [batch, qoLen, numHeads, vHeadDim]. */
export function mlaPrefill<L extends boolean = false>(inputs: MlaPrefillInputs, options: MlaPrefillOptions<L>): AttentionResult<L> {
  const { qNope, qPe, kNope, kPe, v, kvLens, qoLens } = inputs
  return attentionResult(
    invoke(() =>
      native.mlaPrefill(
        handleOf('qNope', qNope), handleOf('qPe', qPe), handleOf('kNope', kNope), handleOf('kPe', kPe), handleOf('v', v),
        kvLens ? handleOf('kvLens', kvLens) : null, qoLens ?? null, ...attentionOptions(options, { causal: false }),
      ),
    ),
    qNope,
    v.shape[3]!,
    options,
  )
}
