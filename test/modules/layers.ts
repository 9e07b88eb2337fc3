/** Layers of random weights, and the same weights as numbers for the references. */
import {
  GroupedQueryAttention, MultiHeadLatentAttention, Tensor, type AttentionConfig, type AttentionWeights, type DeviceId, type FloatDType,
  type FloatTensor, type MlaConfig, type MlaWeights,
} from '../../lib/index'
import type { GqaReferenceConfig, GqaReferenceWeights } from '../reference/modules/grouped-query-attention'
import type { MlaReferenceConfig, MlaReferenceWeights } from '../reference/modules/multi-head-latent-attention'
import { roundAll, type RoundedDType } from '../reference/rounding'
import { disposeLater } from '../support/disposal'
import { Random } from '../support/random'

type Shapes<Name extends string> = Partial<Record<Name, readonly number[]>>

function randomWeights<Name extends string>(
  shapes: Shapes<Name>, dtype: RoundedDType & FloatDType, device: DeviceId, seed: number,
): { values: Record<Name, Float64Array>; tensors: Record<Name, FloatTensor> } {
  const random = new Random(seed)
  const values = {} as Record<Name, Float64Array>
  const tensors = {} as Record<Name, FloatTensor>
  for (const [name, shape] of Object.entries(shapes) as [Name, readonly number[]][]) {
    const size = shape.reduce((product, extent) => product * extent, 1)
    // Matrices keep the size of what they multiply; norm weights lie around 1; biases are of the size of the activations.
    const matrix = shape.length === 2
    const normal = random.normals(size, matrix ? 1 / Math.sqrt(shape[1]!) : 0.3)
    values[name] = roundAll(dtype, name.endsWith('Norm') ? normal.map((value) => 1 + value) : normal)
    tensors[name] = disposeLater(Tensor.from(values[name], shape, { dtype, device }))
  }
  return { values, tensors }
}

export interface LayerOptions {
  readonly dtype: RoundedDType & FloatDType
  readonly device: DeviceId
  readonly biases?: boolean
  readonly seed?: number
}

export type GqaConfig = GqaReferenceConfig & AttentionConfig

export interface GqaLayer {
  readonly layer: GroupedQueryAttention
  readonly config: GqaConfig
  readonly weights: GqaReferenceWeights
  readonly tensors: AttentionWeights
}

export function gqaLayer(config: GqaConfig, { dtype, device, biases = false, seed = 1 }: LayerOptions): GqaLayer {
  const { hiddenSize, numHeads, numKvHeads, headDim, qkNormEps } = config
  const [queries, keys] = [numHeads * headDim, numKvHeads * headDim]
  const { values, tensors } = randomWeights<keyof GqaReferenceWeights>(
    {
      q: [queries, hiddenSize], k: [keys, hiddenSize], v: [keys, hiddenSize], o: [hiddenSize, queries],
      ...(biases && { qBias: [queries], kBias: [keys], vBias: [keys], oBias: [hiddenSize] }),
      ...(qkNormEps !== undefined && { qNorm: [headDim], kNorm: [headDim] }),
    },
    dtype, device, seed,
  )
  return { layer: disposeLater(new GroupedQueryAttention(config, tensors)), config, weights: values, tensors }
}

export type MlaLayerConfig = MlaReferenceConfig & MlaConfig

export interface MlaLayer {
  readonly layer: MultiHeadLatentAttention
  readonly config: MlaLayerConfig
  readonly weights: MlaReferenceWeights
  readonly tensors: MlaWeights
}

export function mlaLayer(config: MlaLayerConfig, { dtype, device, biases = false, seed = 1 }: LayerOptions): MlaLayer {
  const { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const row = kvLoraRank + qkRopeHeadDim
  const { values, tensors } = randomWeights<keyof MlaReferenceWeights>(
    {
      qB: [numHeads * (qkNopeHeadDim + qkRopeHeadDim), qLoraRank ?? hiddenSize],
      kvA: [row, hiddenSize], kvANorm: [kvLoraRank], kvB: [numHeads * (qkNopeHeadDim + vHeadDim), kvLoraRank],
      o: [hiddenSize, numHeads * vHeadDim],
      ...(qLoraRank !== null && { qA: [qLoraRank, hiddenSize], qANorm: [qLoraRank] }),
      ...(biases && { kvABias: [row], oBias: [hiddenSize], ...(qLoraRank !== null && { qABias: [qLoraRank] }) }),
    },
    dtype, device, seed,
  )
  return { layer: disposeLater(new MultiHeadLatentAttention(config, tensors)), config, weights: values, tensors }
}

/** Normal activations [batch, len, hiddenSize], as numbers and as a tensor. */
export function activations(
  batch: number, len: number, hiddenSize: number, { dtype, device, seed = 2 }: LayerOptions,
): { values: Float64Array; tensor: FloatTensor } {
  const values = roundAll(dtype, new Random(seed).normals(batch * len * hiddenSize))
  return { values, tensor: disposeLater(Tensor.from(values, [batch, len, hiddenSize], { dtype, device })) }
}
