import { gatherLatents, type MlaKvCache } from '../cache/mla-kv-cache'
import type { Sequence } from '../cache/sequence'
import { invoke, native } from '../native'
import { linear } from '../ops/linear'
import { mergeStates, type AttentionState } from '../ops/merge-states'
import { mlaPrefill } from '../ops/mla-prefill'
import type { ComputeDType } from '../tensor/dtype'
import { Tensor, handleOf, type FloatTensor } from '../tensor/tensor'
import type { ResolvedMlaConfig } from './config'
import { withIntermediates, type Keep } from './intermediates'
import type { MlaQueries } from './mla-absorbed'
import type { MlaModuleWeights } from './mla-weights'

/** Keys that are expanded at a time, where the new tokens are not more: bounds the memory that a long context needs. */
const maxChunk = 4096

/** Attention among the rows of one call, ckv [batch, len, kvLoraRank] · kPe [batch, len, qkRopeHeadDim] -> [batch, len, numHeads, vHeadDim]. */
export function expandedAttention(
  config: ResolvedMlaConfig, weights: MlaModuleWeights, { qNope, qPe, lens }: MlaQueries, ckv: FloatTensor, kPe: FloatTensor, keep: Keep,
): FloatTensor {
  const { softmaxScale, causal } = config
  const [batch, len] = ckv.shape as [number, number]
  const { kNope, v } = splitHeads(config, keep(linear(ckv, weights.given.get('kvB'))), [batch, len], keep)
  const padding = lens && {
    qoLens: lens,
    kvLens: keep(Tensor.fromBits(lens, [batch], { dtype: 'int32', device: ckv.device })),
  }
  return keep(mlaPrefill({ qNope, qPe, kNope, kPe, v, ...padding }, { softmaxScale, causal }).out)
}

/** Attention of the newest rows of each sequence over all that the cache holds of it -> [batch, len, numHeads, vHeadDim]. */
export function expandedCacheAttention(
  config: ResolvedMlaConfig, weights: MlaModuleWeights, queries: MlaQueries, cache: MlaKvCache, sequences: readonly Sequence[], keep: Keep,
): FloatTensor {
  const { numHeads, vHeadDim } = config
  const { qNope, qPe, lens } = queries
  const { dtype, device, shape } = qNope
  const [batch, len] = shape as [number, number]
  const outShape = [batch, len, numHeads, vHeadDim]
  // Zeros where there is padding: its rows are never written.
  const out = keep(lens ? Tensor.zeros(outShape, { dtype, device }) : Tensor.empty(outShape, { dtype, device }))
  sequences.forEach((sequence, b) => {
    const count = lens ? lens[b]! : len
    if (count === 0) return
    withIntermediates((keepHere) => {
      const rowsOf = (tensor: FloatTensor): FloatTensor => keepHere(keepHere(tensor.slice(0, b, b + 1)).slice(1, 0, count))
      attendInChunks(config, weights, rowsOf(qNope), rowsOf(qPe), rowsOf(out), cache, sequence, keepHere)
    })
  })
  return out
}

/**
 * One sequence. The last chunk holds all new rows, so that only there the causal bound cuts; the chunks before are visible as a whole.
 * Their states are merged exactly by their log-sum-exps.
 */
function attendInChunks(
  config: ResolvedMlaConfig, weights: MlaModuleWeights, qNope: FloatTensor, qPe: FloatTensor, out: FloatTensor, cache: MlaKvCache,
  sequence: Sequence, keep: Keep,
): void {
  const { numHeads, kvLoraRank, qkRopeHeadDim, qkNopeHeadDim, vHeadDim, softmaxScale, causal } = config
  const { length, pages } = sequence
  const { dtype, device } = qNope
  const lastBegin = Math.max(0, length - Math.max(maxChunk, qNope.shape[1]!))
  // One buffer for all chunks: the queue runs in order, so each is read before the next is written.
  const buffer = keep(Tensor.empty([length - lastBegin, numHeads * (qkNopeHeadDim + vHeadDim)], { dtype, device }))

  const attend = <L extends boolean>(begin: number, end: number, options: { causal: boolean; returnLse: L; out?: FloatTensor }) => {
    const gathered = keep(gatherLatents(cache, pages, begin, end, dtype as ComputeDType))
    const rows = gathered.dtype === dtype ? gathered : keep(gathered.cast(dtype))
    const up = linear(keep(rows.slice(1, 0, kvLoraRank)), weights.given.get('kvB'), { out: keep(buffer.slice(0, 0, end - begin)) })
    const kPe = keep(keep(rows.slice(1, kvLoraRank, kvLoraRank + qkRopeHeadDim)).reshape([1, end - begin, qkRopeHeadDim]))
    return mlaPrefill({ qNope, qPe, kPe, ...splitHeads(config, up, [1, end - begin], keep) }, { softmaxScale, ...options })
  }
  if (lastBegin === 0) {
    attend(0, length, { causal, returnLse: false, out })
    return
  }
  const states: AttentionState[] = []
  const keepState = (state: AttentionState): AttentionState => ({ out: keep(state.out), lse: keep(state.lse) })
  for (let begin = 0; begin < lastBegin; begin += maxChunk) {
    states.push(keepState(attend(begin, Math.min(begin + maxChunk, lastBegin), { causal: false, returnLse: true })))
  }
  states.push(keepState(attend(lastBegin, length, { causal, returnLse: true })))
  const merged = keepState(mergeStates(states))
  invoke(() => native.copy(handleOf('merged', merged.out), handleOf('out', out)))
}

/** Rows of [key nope | value] per head, as two views. */
function splitHeads(
  config: ResolvedMlaConfig, up: FloatTensor, [batch, kvLen]: readonly [number, number], keep: Keep,
): { kNope: FloatTensor; v: FloatTensor } {
  const { numHeads, qkNopeHeadDim, vHeadDim } = config
  const width = qkNopeHeadDim + vHeadDim
  const heads = keep(up.reshape([batch, kvLen, numHeads, width]))
  return { kNope: keep(heads.slice(3, 0, qkNopeHeadDim)), v: keep(heads.slice(3, qkNopeHeadDim, width)) }
}
