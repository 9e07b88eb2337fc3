import { fail } from '../check'
import { ArgumentError } from '../errors'
import { invoke, native } from '../native'
import { fromHandle, handleOf, plainHandleOf, type FloatTensor, type Tensor } from '../tensor/tensor'

export interface AttentionState {
  /** [batch, qoLen, numQoHeads, headDimVo], or [totalQo, numQoHeads, headDimVo]. */
  readonly out: FloatTensor
  /** [batch, numQoHeads, qoLen], or [numQoHeads, totalQo]. */
  readonly lse: Tensor<'float32'>
}

/**
 * Exact merge of attention over disjoint key sets (split KV, shared prefixes, context-parallel ranks). Associative within
 * rounding; lse = -Infinity is the identity, and +Infinity (which FlashAttention-2 writes for empty rows) counts as it.
 *
 * Method: the online-softmax algebra of Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
 *
 * @throws ArgumentError when there is no state, or when shapes, dtypes or devices of the states differ.
 * @example
 * ```ts
 * const left = flashAttention(q, k.slice(1, 0, 64), v.slice(1, 0, 64), { returnLse: true })
 * const right = flashAttention(q, k.slice(1, 64, 128), v.slice(1, 64, 128), { returnLse: true })
 * const { out } = mergeStates([left, right])     // attention over all 128 keys
 * ```
 */
export function mergeStates(states: readonly AttentionState[]): AttentionState {
  if (!Array.isArray(states)) fail('states', 'an array of states', states)
  if (states.length === 0) throw new ArgumentError('states', 'at least one state', 'none')
  const given = states as readonly (AttentionState | undefined)[]
  const outs = given.map((state, i) => plainHandleOf(state?.out) ?? handleOf(`states[${i}].out`, state?.out))
  const lses = given.map((state, i) => plainHandleOf(state?.lse) ?? handleOf(`states[${i}].lse`, state?.lse))
  const [out, lse] = invoke(() => native.mergeStates(outs, lses))
  const first = states[0]! as AttentionState
  return {
    out: fromHandle(out, first.out.dtype, first.out.shape, first.out.device),
    lse: fromHandle(lse, 'float32', first.lse.shape, first.lse.device),
  }
}
