import type { Sequence } from '../../cache/sequence'
import { GroupedQueryAttention } from '../../modules/grouped-query-attention'
import { MultiHeadLatentAttention } from '../../modules/multi-head-latent-attention'
import type { FloatTensor } from '../../tensor/tensor'
import type { GroupedShape, LatentShape } from '../presets'
import { attentionConfig, mlaConfig } from './costs-report'
import { type RandomSettings, randomTensors } from './random-tensors'
import type { ComputeDType } from '../../tensor/dtype'

export type Form = 'absorbed' | 'expanded'

interface Cache {
  open(): Sequence
  dispose(): void
}
/** A module with random weights, and a stock of random rows for its cache. */
export interface LayerParts<C extends Cache> {
  readonly module: {
    createCache(options: { numPages: number; pageSize?: number; dtype?: ComputeDType }): C
    forward(x: FloatTensor, options: { cache: C; sequences: readonly Sequence[]; form?: Form }): FloatTensor
    dispose(): void
  }
  /** Two tensors [batch, stockRows, …]: what the cache's append takes. */
  readonly stock: readonly [FloatTensor, FloatTensor]
  readonly append: (cache: C, sequences: readonly Sequence[], first: FloatTensor, second: FloatTensor) => void
  /** Whether the module computes in two forms. */
  readonly hasForms: boolean
}

export const stockRows = 256

export function groupedParts(shape: GroupedShape, settings: RandomSettings, batch: number): LayerParts<ReturnType<GroupedQueryAttention['createCache']>> {
  const { hiddenSize, numHeads, numKvHeads, headDim } = shape
  const random = randomTensors(settings)
  const weights = {
    q: random.matrix(numHeads * headDim, hiddenSize),
    k: random.matrix(numKvHeads * headDim, hiddenSize),
    v: random.matrix(numKvHeads * headDim, hiddenSize),
    o: random.matrix(hiddenSize, numHeads * headDim),
  }
  const module = new GroupedQueryAttention(attentionConfig(shape), weights)
  disposeAll(Object.values(weights))
  const rows = [batch, stockRows, numKvHeads, headDim]
  return {
    module,
    stock: [random.normal(rows), random.normal(rows)],
    append: (cache, sequences, k, v) => { cache.append(sequences, k, v) },
    hasForms: false,
  }
}

export function latentParts(shape: LatentShape, settings: RandomSettings, batch: number): LayerParts<ReturnType<MultiHeadLatentAttention['createCache']>> {
  const { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = shape
  const random = randomTensors(settings)
  const weights = {
    ...(qLoraRank !== null && { qA: random.matrix(qLoraRank, hiddenSize), qANorm: random.ones(qLoraRank) }),
    qB: random.matrix(numHeads * (qkNopeHeadDim + qkRopeHeadDim), qLoraRank ?? hiddenSize),
    kvA: random.matrix(kvLoraRank + qkRopeHeadDim, hiddenSize),
    kvANorm: random.ones(kvLoraRank),
    kvB: random.matrix(numHeads * (qkNopeHeadDim + vHeadDim), kvLoraRank),
    o: random.matrix(hiddenSize, numHeads * vHeadDim),
  }
  const module = new MultiHeadLatentAttention(mlaConfig(shape), weights)
  disposeAll(Object.values(weights))
  return {
    module,
    stock: [random.normal([batch, stockRows, kvLoraRank]), random.normal([batch, stockRows, qkRopeHeadDim])],
    append: (cache, sequences, ckv, kPe) => { cache.append(sequences, ckv, kPe) },
    hasForms: true,
  }
}

export function disposeAll(items: readonly { dispose(): void }[]): void {
  for (const item of items) item.dispose()
}
