import { flashAttention, type AttentionOptions, type DeviceId, type FloatTensor, type IndexTensor, type Tensor } from '../../lib/index'
import { attention, type AttentionArrays, type ReferenceOptions } from '../reference/attention'
import { caseName, makeArrays, type AttentionCase } from './attention-cases'
import type { ComputeDType } from './devices'
import { plainAttention } from './plain-attention'
import { tensorOf, int32Of } from './tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from './tolerance'

export type CallOptions = AttentionOptions<true> & { kvLens?: IndexTensor }

/** The options of a reference as those of a call: arrays become tensors. */
export function callOptions(options: ReferenceOptions, batch: number, heads: number, device: DeviceId): CallOptions {
  const { alibiSlopes, sinks, kvLens, ...plain } = options
  return {
    ...plain,
    returnLse: true,
    ...(alibiSlopes && { alibiSlopes: tensorOf(alibiSlopes, alibiSlopes.length === heads ? [heads] : [batch, heads], 'float32', device) }),
    ...(sinks && { sinks: tensorOf(sinks, [heads], 'float32', device) }),
    ...(kvLens && { kvLens: int32Of([...kvLens], [batch], device) }),
  }
}

export interface AttentionTensors {
  readonly q: FloatTensor
  readonly k: FloatTensor
  readonly v: FloatTensor
}

export function packedTensors(arrays: AttentionArrays, dtype: ComputeDType, device: DeviceId): AttentionTensors {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo } = arrays
  return {
    q: tensorOf(arrays.q, [batch, qoLen, numQoHeads, headDimQk], dtype, device),
    k: tensorOf(arrays.k, [batch, kvLen, numKvHeads, headDimQk], dtype, device),
    v: tensorOf(arrays.v, [batch, kvLen, numKvHeads, headDimVo], dtype, device),
  }
}

/** Result tensors hold the error that the float64 reference and the plain implementation of the same dtype allow. */
export function expectAttention(
  result: { readonly out: FloatTensor; readonly lse: Tensor<'float32'> }, arrays: AttentionArrays, options: ReferenceOptions, dtype: ComputeDType,
): void {
  const { batch, qoLen, numQoHeads, headDimVo } = arrays
  expect(result.out.shape).toEqual([batch, qoLen, numQoHeads, headDimVo])
  expect(result.lse.shape).toEqual([batch, numQoHeads, qoLen])
  expect([result.out.dtype, result.lse.dtype]).toEqual([dtype, 'float32'])
  const expected = attention(arrays, options)
  const plain = plainAttention(arrays, options, dtype)
  const factor = options.logitSoftcap ? softcapFactor : plainFactor
  expectAsGoodAsPlain(result.out.readSync(), expected.out, plain.out, { dtype, factor })
  expectLseAsGoodAsPlain(result.lse.readSync(), expected.lse, plain.lse, factor)
}

/** Runs one case through flashAttention and checks it; names the case where it fails. */
export function checkCase(c: AttentionCase, dtype: ComputeDType, device: DeviceId, seed: number): void {
  const arrays = makeArrays(c, dtype, seed)
  const { q, k, v } = packedTensors(arrays, dtype, device)
  const result = flashAttention(q, k, v, callOptions(c.options, c.batch, c.numQoHeads, device))
  try {
    expectAttention(result, arrays, c.options, dtype)
  } catch (cause) {
    throw new Error(`${caseName(c)} ${dtype} on ${device}: ${(cause as Error).message}`, { cause })
  }
}
