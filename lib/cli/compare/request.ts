import { ArgumentError } from '../../errors'
import type { ComputeDType } from '../../tensor/dtype'
import { type Preset, type PresetName, defaultPreset, presets } from '../presets'
import { type ShapeChanges, type Triple, tripleOf } from './triple'

/** The options of `compare` as commander parsed them. */
export interface CompareOptions {
  readonly preset?: PresetName
  readonly hidden?: number
  readonly heads?: number
  readonly headDim?: number
  readonly kvHeads?: number
  readonly kvLoraRank?: number
  readonly qLoraRank?: number | null
  readonly qkNopeHeadDim?: number
  readonly qkRopeHeadDim?: number
  readonly vHeadDim?: number
  readonly layers?: number
  readonly dtype: ComputeDType
  readonly lengths: readonly number[]
  readonly prefill: number
  readonly batch: number
  readonly memory: number
  readonly threads?: number
  readonly device: string
  readonly rounds: number
  readonly seconds: number
  readonly seed: number
  readonly json?: true
  readonly html?: string
  readonly measure: boolean
}

/** What is to be compared: the three layers and the model around them. */
export interface Subject {
  readonly preset: PresetName | null
  readonly title: string
  readonly source: string
  readonly layers: number
  readonly triple: Triple
}

export function subjectOf(options: CompareOptions): Subject {
  const { hidden, heads, headDim } = options
  const own = hidden !== undefined || heads !== undefined || headDim !== undefined
  if (own && options.preset !== undefined) {
    throw new ArgumentError('--preset', 'a preset or --hidden, --heads and --head-dim of your own', 'both')
  }
  const subject = own ? ownShape(options) : published(options)
  const [mha, gqa] = subject.triple
  const { numHeads, numKvHeads } = gqa.shape
  if (numHeads % numKvHeads !== 0) throw new ArgumentError('--kv-heads', `a divisor of the ${numHeads} heads`, `${numKvHeads}`)
  checkEven(own ? '--head-dim' : '--preset', mha.shape.headDim)
  checkEven('--qk-rope-head-dim', subject.triple[2].shape.qkRopeHeadDim)
  return subject
}

function published(options: CompareOptions): Subject {
  const preset = options.preset ?? defaultPreset
  const { title, layers, published: shapes, source }: Preset = presets[preset]
  return { preset, title, source, layers: options.layers ?? layers, triple: tripleOf(shapes, 'published', changesOf(options)) }
}

function ownShape(options: CompareOptions): Subject {
  const { hidden, heads, layers = 1 } = options
  if (hidden === undefined) throw new ArgumentError('--hidden', 'the hidden size beside --heads and --head-dim', 'none')
  if (heads === undefined) throw new ArgumentError('--heads', 'the number of query heads beside --hidden and --head-dim', 'none')
  if (options.headDim === undefined && hidden % heads !== 0) {
    throw new ArgumentError('--heads', `a divisor of --hidden (${hidden}), or --head-dim beside it`, `${heads}`)
  }
  const headDim = options.headDim ?? hidden / heads
  const base = { kind: 'grouped', hiddenSize: hidden, numHeads: heads, numKvHeads: heads, headDim } as const
  const title = `hidden size ${hidden} with ${heads} heads of ${headDim}`
  return { preset: null, title, source: 'the command line', layers, triple: tripleOf([base], 'as given', changesOf(options)) }
}

function changesOf({ kvHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }: CompareOptions): ShapeChanges {
  return {
    ...(kvHeads !== undefined && { numKvHeads: kvHeads }),
    ...(qLoraRank !== undefined && { qLoraRank }),
    ...(kvLoraRank !== undefined && { kvLoraRank }),
    ...(qkNopeHeadDim !== undefined && { qkNopeHeadDim }),
    ...(qkRopeHeadDim !== undefined && { qkRopeHeadDim }),
    ...(vHeadDim !== undefined && { vHeadDim }),
  }
}

/** Rotation works on pairs of features. */
function checkEven(option: string, dim: number): void {
  if (dim % 2 !== 0) throw new ArgumentError(option, 'an even width', `${dim}`)
}
