import type { Sequence } from '../../cache/sequence'
import { devices } from '../../devices'
import { AttentionError } from '../../errors'
import type { ComputeDType } from '../../tensor/dtype'
import { type FloatTensor, Tensor } from '../../tensor/tensor'
import type { LayerShape } from '../presets'
import { type Form, type LayerParts, disposeAll, groupedParts, latentParts, stockRows } from './layer-parts'
import type { RandomSettings } from './random-tensors'

export interface LayerSettings extends RandomSettings {
  readonly batch: number
  readonly lengths: readonly number[]
  readonly prefill: number
}

/** A layer with random weights, its cache filled, ready to be timed. Every call comes back when its work is done. */
export interface BenchLayer {
  /** Checks an output for finite numbers, and MLA's two forms against each other: how far these are apart. */
  check(): Promise<{ readonly formsDiffer?: number }>
  /** A prefill of `len` tokens, which are then forgotten. */
  prefill(len: number): Promise<void>
  /** One step whose new token is number `kvLen`, which is then forgotten. */
  decode(kvLen: number): Promise<void>
  dispose(): void
}

const pageSize = 64
const checkRows = 8

/** The share of the largest output by which MLA's two forms may differ: some forty roundings of the dtype, in chains of different order. */
const formsTolerance = { float32: 2e-5, float16: 2e-2, bfloat16: 1.6e-1 } as const satisfies Record<ComputeDType, number>

export function benchLayer(shape: LayerShape, settings: LayerSettings): BenchLayer {
  const { batch } = settings
  return shape.kind === 'grouped'
    ? prepare(groupedParts(shape, settings, batch), shape.hiddenSize, settings)
    : prepare(latentParts(shape, settings, batch), shape.hiddenSize, settings)
}

function prepare<C extends { open(): Sequence; dispose(): void }>(parts: LayerParts<C>, hiddenSize: number, settings: LayerSettings): BenchLayer {
  const { device, dtype, batch, lengths, prefill } = settings
  const longestNew = Math.max(prefill, checkRows)
  const pages = [...lengths, longestNew].reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = parts.module.createCache({ numPages: batch * pages, pageSize, dtype })
  const openAll = () => Array.from({ length: batch }, () => cache.open())

  const filled = new Map(lengths.map((kvLen) => [kvLen, openAll()]))
  for (const [kvLen, sequences] of filled) fill(parts, cache, sequences, kvLen - 1)
  const fresh = openAll()
  const x = Tensor.randn([batch, longestNew, hiddenSize], { dtype, device, seed: settings.seed + 1000 })

  const forward = (len: number, sequences: readonly Sequence[], form?: Form) => {
    const rows = x.slice(1, 0, len)
    try {
      return parts.module.forward(rows, { cache, sequences, ...(form && { form }) })
    } finally {
      rows.dispose()
    }
  }
  const run = async (len: number, sequences: readonly Sequence[], keep: number) => {
    const out = forward(len, sequences)
    await devices.synchronize(device)
    out.dispose()
    for (const sequence of sequences) sequence.truncate(keep)
  }
  const outputOf = async (form?: Form) => {
    const out = forward(checkRows, fresh, form)
    const numbers = (await out.read()) as Float32Array
    out.dispose()
    for (const sequence of fresh) sequence.truncate(0)
    if (!numbers.every(Number.isFinite)) throw checkFailed("the layer's output has numbers that are not finite")
    return numbers
  }
  const checkForms = async () => {
    const formsDiffer = relativeDifference(await outputOf('absorbed'), await outputOf('expanded'))
    const allowed = formsTolerance[dtype]
    if (formsDiffer <= allowed) return { formsDiffer }
    throw checkFailed(`MLA's two forms differ by ${formsDiffer.toExponential(1)} of the largest output, expected at most ${allowed}`)
  }
  return {
    check: async () => (parts.hasForms ? checkForms() : outputOf().then(() => ({}))),
    prefill: (len) => run(len, fresh, 0),
    decode: (kvLen) => run(1, filled.get(kvLen) ?? [], kvLen - 1),
    dispose: () => { disposeAll([x, ...parts.stock, cache, parts.module]) },
  }
}

/** Appends the stock of random rows, again and again. */
function fill<C extends { open(): Sequence; dispose(): void }>(parts: LayerParts<C>, cache: C, sequences: readonly Sequence[], count: number): void {
  for (let left = count; left > 0; left -= stockRows) {
    const rows = (tensor: FloatTensor) => tensor.slice(1, 0, Math.min(left, stockRows))
    const [first, second] = [rows(parts.stock[0]), rows(parts.stock[1])]
    parts.append(cache, sequences, first, second)
    disposeAll([first, second])
  }
}

function checkFailed(why: string): AttentionError {
  return new AttentionError('INTERNAL', `the check before timing failed: ${why}`)
}

function relativeDifference(a: Float32Array, b: Float32Array): number {
  let difference = 0
  let largest = 0
  for (let i = 0; i < a.length; ++i) {
    difference = Math.max(difference, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)))
    largest = Math.max(largest, Math.abs(a[i] ?? NaN))
  }
  return difference / largest
}
