import { invoke, native } from '../native'
import { linear } from '../ops/linear'
import { Tensor, handleOf, type FloatTensor } from '../tensor/tensor'
import type { ResolvedMlaConfig } from './config'
import { withIntermediates, type Keep } from './intermediates'
import { ModuleWeights, type WeightSpec } from './module-weights'

type MlaWeightName = 'qA' | 'qANorm' | 'qB' | 'kvA' | 'kvANorm' | 'kvB' | 'o' | 'qABias' | 'kvABias' | 'oBias'

/** The weights in the layouts that the two forms compute with, made once at construction. */
export class MlaModuleWeights {
  readonly given: ModuleWeights<MlaWeightName>
  /** [kvLoraRank, hiddenSize]: the rows of kvA that make the latent, and their bias. */
  readonly latent: FloatTensor
  readonly latentBias: FloatTensor | undefined
  /** [qkRopeHeadDim, hiddenSize]: the rows of kvA that make the rope key, keyRopeScale included. */
  readonly ropeKey: FloatTensor
  readonly ropeKeyBias: FloatTensor | undefined
  /** [numHeads, kvLoraRank, qkNopeHeadDim]: takes a query head into latent space (the key up-projection, transposed). */
  readonly absorbQuery: FloatTensor
  /** [numHeads, vHeadDim, kvLoraRank]: takes a head's output out of latent space (the value up-projection); a view of kvB. */
  readonly valueUp: FloatTensor
  readonly #owned: Tensor[] = []

  constructor(config: ResolvedMlaConfig, weights: unknown) {
    this.given = new ModuleWeights('MultiHeadLatentAttention', weights, mlaSpecs(config))
    const own = <T extends Tensor>(tensor: T): T => {
      this.#owned.push(tensor)
      return tensor
    }
    const { numHeads, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, keyRopeScale } = config
    const width = kvLoraRank + qkRopeHeadDim
    try {
      const kvA = this.given.get('kvA')
      const bias = this.given.find('kvABias')
      this.latent = own(kvA.slice(0, 0, kvLoraRank))
      this.latentBias = bias && own(bias.slice(0, 0, kvLoraRank))
      const ropeRows = own(kvA.slice(0, kvLoraRank, width))
      const ropeBias = bias && own(bias.slice(0, kvLoraRank, width))
      this.ropeKey = keyRopeScale === 1 ? ropeRows : own(scaledRows(ropeRows, keyRopeScale))
      this.ropeKeyBias = ropeBias && (keyRopeScale === 1 ? ropeBias : own(scaledVector(ropeBias, keyRopeScale)))

      const perHead = own(this.given.get('kvB').reshape([numHeads, qkNopeHeadDim + vHeadDim, kvLoraRank]))
      this.absorbQuery = own(transposed(perHead, qkNopeHeadDim))
      this.valueUp = own(perHead.slice(1, qkNopeHeadDim, qkNopeHeadDim + vHeadDim))
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  dispose(): void {
    this.given.dispose()
    for (const tensor of this.#owned) tensor.dispose()
  }
}

function mlaSpecs(config: ResolvedMlaConfig): Record<MlaWeightName, WeightSpec> {
  const { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const compressed = qLoraRank === null ? { refused: ' where qLoraRank is null' } : { required: ` (qLoraRank is ${qLoraRank})` }
  const rank = qLoraRank ?? hiddenSize
  const required = ''
  return {
    qA: { shape: [rank, hiddenSize], dims: '[qLoraRank, hiddenSize]', ...compressed },
    qANorm: { shape: [rank], dims: '[qLoraRank]', ...compressed },
    qB: {
      shape: [numHeads * (qkNopeHeadDim + qkRopeHeadDim), rank],
      dims: `[numHeads · (qkNopeHeadDim + qkRopeHeadDim), ${qLoraRank === null ? 'hiddenSize' : 'qLoraRank'}]`,
      required,
    },
    kvA: { shape: [kvLoraRank + qkRopeHeadDim, hiddenSize], dims: '[kvLoraRank + qkRopeHeadDim, hiddenSize]', required },
    kvANorm: { shape: [kvLoraRank], dims: '[kvLoraRank]', required },
    kvB: { shape: [numHeads * (qkNopeHeadDim + vHeadDim), kvLoraRank], dims: '[numHeads · (qkNopeHeadDim + vHeadDim), kvLoraRank]', required },
    o: { shape: [hiddenSize, numHeads * vHeadDim], dims: '[hiddenSize, numHeads · vHeadDim]', required },
    qABias: { shape: [rank], dims: '[qLoraRank]', ...(qLoraRank === null ? compressed : {}) },
    kvABias: { shape: [kvLoraRank + qkRopeHeadDim], dims: '[kvLoraRank + qkRopeHeadDim]' },
    oBias: { shape: [hiddenSize], dims: '[hiddenSize]' },
  }
}

/** Rows 0 … rows - 1 of each head of [numHeads, .., columns] -> [numHeads, columns, rows], packed. */
function transposed(perHead: FloatTensor, rows: number): FloatTensor {
  return withIntermediates((keep) => {
    const view = keep(keep(perHead.slice(1, 0, rows)).transpose(1, 2))
    const packed = Tensor.empty(view.shape, { dtype: view.dtype, device: view.device })
    invoke(() => native.copy(handleOf('kvB', view), handleOf('absorbQuery', packed)))
    return packed
  })
}

/** scale · weight in float32, so that the scale costs no rounding to a narrow dtype: (scale · I) times the matrix. */
function scaledRows(weight: FloatTensor, scale: number): FloatTensor {
  return withIntermediates((keep) => linear(scaledIdentity(weight, weight.shape[0]!, scale, keep), keep(weight.transpose(0, 1))))
}

function scaledVector(bias: FloatTensor, scale: number): FloatTensor {
  const [size] = bias.shape as [number]
  return withIntermediates((keep) => {
    const row = keep(keep(bias.cast('float32')).reshape([1, size]))
    return keep(linear(row, scaledIdentity(bias, size, scale, keep))).reshape([size])
  })
}

function scaledIdentity({ device }: FloatTensor, size: number, scale: number, keep: Keep): FloatTensor {
  const values = new Float32Array(size * size)
  for (let i = 0; i < size; ++i) values[i * size + i] = scale
  return keep(Tensor.from(values, [size, size], { device }))
}
