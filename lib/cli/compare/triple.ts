import type { GroupedShape, LatentShape, LayerShape } from '../presets'

export type MechanismId = 'mha' | 'gqa' | 'mla'

/** One mechanism of a comparison: its shape and where that comes from. */
export interface Mechanism<Shape extends LayerShape = LayerShape> {
  readonly id: MechanismId
  readonly shape: Shape
  /** 'published', 'as given', or the rule that derived it. */
  readonly origin: string
}
export type Triple = readonly [Mechanism<GroupedShape>, Mechanism<GroupedShape>, Mechanism<LatentShape>]

/** Parts of a shape that the command line may set; the rest is published or derived. */
export interface ShapeChanges {
  readonly numKvHeads?: number
  readonly qLoraRank?: number | null
  readonly kvLoraRank?: number
  readonly qkNopeHeadDim?: number
  readonly qkRopeHeadDim?: number
  readonly vHeadDim?: number
}

/**
 * An MHA, a GQA and an MLA layer at one hidden size. A published or given shape is taken as it is; the others follow from the first:
 * - MHA: as many heads, each as wide as the published values' heads, one key and value head per query head.
 * - GQA: the same with a quarter of the key and value heads (the ratio of Llama 3 8B), or the next smaller number that divides the heads.
 * - MLA: as many heads, dims in DeepSeek's proportions: key part without position d, with position d/2, value d, latent 4d;
 *   queries compressed to 12d where that takes fewer parameters than a direct projection (which reproduces DeepSeek's choice for
 *   V2-Lite, V2 and V3).
 */
export function tripleOf(shapes: readonly [LayerShape, ...LayerShape[]], origin: 'published' | 'as given', changes: ShapeChanges = {}): Triple {
  const base = shapes[0]
  const heads = base.numHeads
  const width = base.kind === 'grouped' ? base.headDim : base.vHeadDim
  const ofKind = <Kind extends LayerShape['kind']>(kind: Kind) =>
    shapes.filter((shape): shape is Extract<LayerShape, { kind: Kind }> => shape.kind === kind)

  const everyHead = ofKind('grouped').find((shape) => shape.numKvHeads === shape.numHeads)
  const shared = ofKind('grouped').find((shape) => shape.numKvHeads < shape.numHeads)
  const mha = everyHead ?? fullHeads(shared ?? { kind: 'grouped', hiddenSize: base.hiddenSize, numHeads: heads, numKvHeads: heads, headDim: width })
  const gqa = shared ?? { ...mha, numKvHeads: quarter(mha.numHeads) }
  const latent = ofKind('latent')[0]
  const mla = latent ?? deepSeekProportions(base.hiddenSize, heads, width)

  const { numKvHeads, ...latentChanges } = changes
  return [
    { id: 'mha', shape: mha, origin: everyHead ? origin : 'one key and value head for each query head' },
    numKvHeads === undefined
      ? { id: 'gqa', shape: gqa, origin: shared ? origin : `one key and value head for ${gqa.numHeads / gqa.numKvHeads} query heads` }
      : { id: 'gqa', shape: { ...gqa, numKvHeads }, origin: 'as given' },
    Object.keys(latentChanges).length === 0
      ? { id: 'mla', shape: mla, origin: latent ? origin : "dims in DeepSeek's proportions" }
      : { id: 'mla', shape: { ...mla, ...latentChanges }, origin: latent ? `${origin}, changed by options` : "DeepSeek's proportions, changed by options" },
  ]
}

function fullHeads(shape: GroupedShape): GroupedShape {
  return { ...shape, numKvHeads: shape.numHeads }
}

function quarter(heads: number): number {
  let count = Math.max(1, Math.floor(heads / 4))
  while (heads % count !== 0) --count
  return count
}

function deepSeekProportions(hiddenSize: number, numHeads: number, d: number): LatentShape {
  // Rotation works on pairs: an odd half is rounded up.
  const rope = 2 * Math.ceil(d / 4)
  const compressed = 12 * d * (hiddenSize + numHeads * (d + rope))
  const direct = hiddenSize * numHeads * (d + rope)
  return {
    kind: 'latent', hiddenSize, numHeads, qLoraRank: compressed < direct ? 12 * d : null, kvLoraRank: 4 * d, qkNopeHeadDim: d, qkRopeHeadDim: rope, vHeadDim: d,
  }
}
