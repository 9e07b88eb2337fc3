import { MlaKvCache } from '../../cache/mla-kv-cache'
import { PagedKvCache } from '../../cache/paged-kv-cache'
import { flashAttention } from '../../ops/flash-attention'
import { flashAttentionVarlen } from '../../ops/flash-attention-varlen'
import { linear } from '../../ops/linear'
import { mergeStates } from '../../ops/merge-states'
import { mlaDecode } from '../../ops/mla-decode'
import { mlaPrefill } from '../../ops/mla-prefill'
import { pagedAttention } from '../../ops/paged-attention'
import { quantizeFloat8 } from '../../ops/quantize-float8'
import { rmsNorm } from '../../ops/rms-norm'
import { rope } from '../../ops/rope'
import { Tensor } from '../../tensor/tensor'
import type { CaseTensors } from './case'
import type { BenchSettings } from './request'

/** Enqueues one op; gives back what it made. */
export type SmallCall = () => readonly Disposable[]

/** Every op that computes, on so few numbers that only the call costs something. */
export function smallCalls(tensors: CaseTensors, { device, dtype }: Pick<BenchSettings, 'device' | 'dtype'>): Readonly<Record<string, SmallCall>> {
  const [q, rows, row, weight, scale] = [
    tensors.normal([1, 1, 1, 8]), tensors.normal([1, 1, 8]), tensors.normal([1, 8]), tensors.normal([8, 8]), tensors.normal([8]),
  ]
  const lse = tensors.keep(Tensor.zeros([1, 1, 1], { device }))
  const states = [{ out: q, lse }, { out: q, lse }]
  const indptr = Int32Array.of(0, 1)
  const paged = tensors.keep(new PagedKvCache({ numPages: 1, pageSize: 1, numKvHeads: 1, headDimQk: 8, dtype, device }))
  const latent = tensors.keep(new MlaKvCache({ numPages: 1, pageSize: 1, kvLoraRank: 8, qkRopeHeadDim: 8, dtype, device }))
  const [sequence, latentSequence] = [paged.open(), latent.open()]
  paged.append([sequence], q, q)
  latent.append([latentSequence], rows, rows)
  const [batch, latentBatch] = [tensors.keep(paged.batch([sequence])), tensors.keep(latent.batch([latentSequence]))]
  return {
    flashAttention: () => [flashAttention(q, q, q).out],
    flashAttentionVarlen: () => [flashAttentionVarlen(rows, rows, rows, { qoIndptr: indptr, kvIndptr: indptr }).out],
    pagedAttention: () => [pagedAttention(q, paged, batch).out],
    mlaDecode: () => [mlaDecode(q, q, latent, latentBatch, { softmaxScale: 1 }).out],
    mlaPrefill: () => [mlaPrefill({ qNope: q, qPe: q, kNope: q, kPe: rows, v: q }, { softmaxScale: 1, causal: true }).out],
    mergeStates: () => {
      const { out, lse: merged } = mergeStates(states)
      return [out, merged]
    },
    rope: () => [rope(q, { interleaved: false })],
    rmsNorm: () => [rmsNorm(row, scale)],
    linear: () => [linear(row, weight)],
    quantizeFloat8: () => {
      const { codes, scales } = quantizeFloat8(q)
      return [codes, scales]
    },
  }
}
