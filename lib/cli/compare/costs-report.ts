import { layerCosts } from '../../costs'
import type { AttentionConfig, MlaConfig } from '../../modules/config'
import type { GroupedShape, LatentShape } from '../presets'
import type { CompareOptions, Subject } from './request'
import type { MechanismReport } from './report'
import type { Mechanism } from './triple'

export function attentionConfig({ hiddenSize, numHeads, numKvHeads, headDim }: GroupedShape): AttentionConfig {
  return { hiddenSize, numHeads, numKvHeads, headDim, rope: { interleaved: false } }
}

export function mlaConfig({ hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }: LatentShape): MlaConfig {
  return { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, rope: { interleaved: true } }
}

/** The counted part of a mechanism's report. */
export function costsOf(mechanism: Mechanism, { layers }: Subject, options: CompareOptions): MechanismReport {
  const { shape, id, origin } = mechanism
  const costs = layerCosts(shape.kind === 'grouped' ? attentionConfig(shape) : mlaConfig(shape), options.dtype)
  const kvBytesPerTokenModel = costs.kvBytesPerToken * layers
  return {
    id,
    title: titleOf(mechanism),
    shape,
    origin,
    parameters: costs.parameters,
    kvBytesPerToken: costs.kvBytesPerToken,
    kvBytesPerTokenModel,
    maxContext: Math.floor(costs.maxContext(options.memory, layers) / options.batch),
    prefillFlops: options.batch * costs.prefillFlops(options.prefill),
    decode: options.lengths.map((kvLen) => ({
      kvLen, flops: options.batch * costs.decodeFlops(kvLen), cacheBytesModel: options.batch * kvLen * kvBytesPerTokenModel,
    })),
    measured: null,
  }
}

/** 'MHA 32', 'GQA 32/8' (query heads / key and value heads), 'MLA 32 · 512+64' (heads · latent + rope key). */
function titleOf({ id, shape }: Mechanism): string {
  const name = id.toUpperCase()
  if (shape.kind === 'latent') return `${name} ${shape.numHeads} · ${shape.kvLoraRank}+${shape.qkRopeHeadDim}`
  return shape.numKvHeads === shape.numHeads ? `${name} ${shape.numHeads}` : `${name} ${shape.numHeads}/${shape.numKvHeads}`
}
