import { checkOptions } from '../check'
import { ArgumentError } from '../errors'
import type { AttentionWeights } from '../modules/config'
import { attentionNamings, type AttentionNames, type AttentionNaming } from './attention-names'
import { checkLoadOptions, type LoadOptions } from './host-tensor'
import { checkNaming, LayerPlan } from './layer-plan'
import { readLayer } from './read-layer'
import type { SafetensorsFile } from './safetensors-file'

export interface LoadAttentionOptions extends LoadOptions {
  readonly naming: AttentionNaming
}

/**
 * The weights of one attention layer for GroupedQueryAttention: the tensors whose names begin with `prefix`, with or without its last dot.
 *
 * q [numHeads · headDim, hiddenSize], k and v [numKvHeads · headDim, hiddenSize], o [hiddenSize, numHeads · headDim], biases where the
 * file has them, and with 'qwen3' qNorm and kNorm [headDim]. Fp8 weights with block scales (`<weight>_scale_inv`) are multiplied by them
 * and load as float32 unless `dtype` says otherwise.
 *
 * Rejects with ArgumentError for a weight that is missing, misshaped (SHAPE_MISMATCH) or would be dropped by the naming (UNSUPPORTED),
 * before any weight is read; with FileError when the file changed since it was opened.
 * @example
 * const weights = await loadAttentionWeights(file, 'model.layers.0.self_attn', { naming: 'llama' })
 */
export async function loadAttentionWeights(
  file: SafetensorsFile, prefix: string, options: LoadAttentionOptions,
): Promise<AttentionWeights> {
  const { naming: given, ...rest } = checkOptions('options', options, ['naming', 'device', 'dtype'])
  const naming = checkNaming(given, attentionNamings)
  const { device, dtype } = checkLoadOptions(rest)
  const plan = new LayerPlan<keyof AttentionWeights>(file, prefix)
  planAttention(plan, attentionNamings[naming])
  plan.refuse(naming, attentionNamings[naming].refused)
  // The plan holds every field that AttentionWeights requires.
  return (await readLayer(plan, device, dtype)) as AttentionWeights
}

/** The configuration is not known here, so the shapes of q and k decide, and everything else must agree with them. */
function planAttention(plan: LayerPlan<keyof AttentionWeights>, names: AttentionNames): void {
  const [qRows = 0, hiddenSize = 0] = plan.shapeOf(`${names.q}.weight`, 'numHeads * headDim', 'hiddenSize')
  const [kRows = 0] = plan.shapeOf(`${names.k}.weight`, 'numKvHeads * headDim', `${hiddenSize}`)
  const [q, k] = [plan.nameOf(`${names.q}.weight`), plan.nameOf(`${names.k}.weight`)]
  if (qRows % kRows !== 0) throw new ArgumentError(k, `rows that divide those of ${q} (${qRows})`, `${kRows}`, 'SHAPE_MISMATCH')
  plan.matrix('q', [names.q], [qRows], 1, hiddenSize)
  plan.matrix('k', [names.k], [kRows], 1, hiddenSize)
  plan.matrix('v', [names.v], [kRows], 1, hiddenSize)
  plan.matrix('o', [names.o], [hiddenSize], 1, qRows)
  plan.optionalBias('qBias', [names.q], [qRows])
  plan.optionalBias('kBias', [names.k], [kRows])
  plan.optionalBias('vBias', [names.v], [kRows])
  plan.optionalBias('oBias', [names.o], [hiddenSize])
  if (names.qNorm === undefined || names.kNorm === undefined) return
  const [headDim = 0] = plan.shapeOf(names.qNorm, 'headDim')
  if (kRows % headDim !== 0) {
    throw new ArgumentError(plan.nameOf(names.qNorm), `headDim to divide the rows of ${k} (${kRows})`, `${headDim}`, 'SHAPE_MISMATCH')
  }
  plan.vector('qNorm', names.qNorm, headDim)
  plan.vector('kNorm', names.kNorm, headDim)
}
