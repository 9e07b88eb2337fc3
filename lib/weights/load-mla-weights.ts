import { checkInteger, checkOptions, fail } from '../check'
import type { MlaConfig, MlaWeights } from '../modules/config'
import { checkLoadOptions, type LoadOptions } from './host-tensor'
import { checkNaming, LayerPlan } from './layer-plan'
import { mlaNamings, type MlaNames, type MlaNaming } from './mla-names'
import { readLayer } from './read-layer'
import type { SafetensorsFile } from './safetensors-file'

export interface LoadMlaOptions extends LoadOptions {
  readonly naming: MlaNaming
  /** Gives the shapes that the file must have. */
  readonly config: MlaConfig
}

/**
 * The weights of one MLA layer for MultiHeadLatentAttention: the tensors whose names begin with `prefix`, with or without its last dot.
 *
 * With 'separate', the checkpoint's matrices are fused to the module's: qB rows per head [nope | rope], kvA rows [latent | rope key], kvB
 * rows per head [key nope | value]. 'deepseek' stores them so. Both were trained with interleaved rotation: `config.rope` needs
 * `interleaved: true`. Fp8 weights with DeepSeek-V3's block scales (`<weight>_scale_inv` [ceil(out / 128), ceil(in / 128)]) are multiplied
 * by them and load as float32 unless `dtype` says otherwise ('bfloat16' is what DeepSeek's own conversion gives).
 *
 * Rejects with ArgumentError for a weight that is missing, misshaped (SHAPE_MISMATCH) or would be dropped by the naming (UNSUPPORTED),
 * before any weight is read; with FileError when the file changed since it was opened.
 * @example
 * const weights = await loadMlaWeights(file, 'model.layers.0.self_attn', { naming: 'deepseek', config, dtype: 'bfloat16' })
 */
export async function loadMlaWeights(file: SafetensorsFile, prefix: string, options: LoadMlaOptions): Promise<MlaWeights> {
  const { naming: given, config, ...rest } = checkOptions('options', options, ['naming', 'config', 'device', 'dtype'])
  const naming = checkNaming(given, mlaNamings)
  const { device, dtype } = checkLoadOptions(rest)
  const plan = new LayerPlan<keyof MlaWeights>(file, prefix)
  planMla(plan, mlaNamings[naming], naming, checkDims(config))
  plan.refuse(naming, mlaNamings[naming].refused)
  // The plan holds every field that MlaWeights requires.
  return (await readLayer(plan, device, dtype)) as MlaWeights
}

type Dims = Pick<MlaConfig, 'hiddenSize' | 'numHeads' | 'qLoraRank' | 'kvLoraRank' | 'qkNopeHeadDim' | 'qkRopeHeadDim' | 'vHeadDim'>

/** The dims that decide shapes; the module checks the rest of its configuration. */
function checkDims(config: MlaConfig | undefined): Dims {
  if (typeof config !== 'object' || config === null) fail('options.config', 'an MlaConfig', config)
  const dim = (key: keyof Dims): number => checkInteger(`options.config.${key}`, config[key], 1)
  return {
    hiddenSize: dim('hiddenSize'),
    numHeads: dim('numHeads'),
    qLoraRank: config.qLoraRank === null ? null : dim('qLoraRank'),
    kvLoraRank: dim('kvLoraRank'),
    qkNopeHeadDim: dim('qkNopeHeadDim'),
    qkRopeHeadDim: dim('qkRopeHeadDim'),
    vHeadDim: dim('vHeadDim'),
  }
}

function planMla(plan: LayerPlan<keyof MlaWeights>, names: MlaNames, naming: MlaNaming, dims: Dims): void {
  const { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = dims
  const perHead = [qkNopeHeadDim, qkRopeHeadDim]
  if (qLoraRank === null) {
    if (names.qDirect === null) fail('options.config.qLoraRank', `an integer, as naming '${naming}' always compresses queries`, null)
    plan.matrix('qB', names.qDirect, rowsFor(names.qDirect, perHead), numHeads, hiddenSize)
  } else {
    plan.matrix('qA', [names.qA], [qLoraRank], 1, hiddenSize)
    plan.optionalBias('qABias', [names.qA], [qLoraRank])
    plan.vector('qANorm', names.qANorm, qLoraRank)
    plan.matrix('qB', names.qB, rowsFor(names.qB, perHead), numHeads, qLoraRank)
  }
  const latentRows = rowsFor(names.kvA, [kvLoraRank, qkRopeHeadDim])
  plan.matrix('kvA', names.kvA, latentRows, 1, hiddenSize)
  plan.optionalBias('kvABias', names.kvA, latentRows)
  plan.vector('kvANorm', names.kvANorm, kvLoraRank)
  plan.matrix('kvB', names.kvB, rowsFor(names.kvB, [qkNopeHeadDim, vHeadDim]), numHeads, kvLoraRank)
  plan.matrix('o', [names.o], [hiddenSize], 1, numHeads * vHeadDim)
  plan.optionalBias('oBias', [names.o], [hiddenSize])
}

/** A checkpoint that stores one fused matrix has all the rows in it. */
function rowsFor(stems: readonly string[], rows: readonly number[]): readonly number[] {
  return stems.length === 1 ? [rows.reduce((sum, count) => sum + count, 0)] : rows
}
