import type { FloatDType } from '../../tensor/dtype'
import { type FloatTensor, Tensor } from '../../tensor/tensor'
import type { Check } from '../verify/case'
import type { AttentionShape, LatentShape } from './peers/peer'
import type { BenchOp, BenchSettings } from './request'

/** One call to time. */
export interface BenchCase {
  readonly op: BenchOp
  readonly length: number
  /** Of one call: a multiply-add is two; attention counts visible pairs of query and key only, and no exponentials. */
  readonly flops: number
  /** Of one call: every input read once, every output written once. */
  readonly bytes: number
  /** For the ops that other libraries have as well. */
  readonly attention?: AttentionShape | LatentShape
  /** Makes the tensors. */
  readonly open: () => OpenCase
}
export interface OpenCase extends Disposable {
  /** Enqueues one call. */
  readonly run: () => void
  /** The same case in other memory, with the same numbers. */
  readonly again: () => OpenCase
  /** Sampled rows of one more call beside float64 loops. */
  readonly check: () => readonly Check[]
}

/** The tensors of one case: made from consecutive seeds or copied from those of an equal case, given back together. */
export class CaseTensors {
  readonly #kept: Disposable[] = []
  readonly #normals: FloatTensor[] = []
  readonly #settings: BenchSettings
  readonly #from: CaseTensors | undefined

  constructor(settings: BenchSettings, from?: CaseTensors) {
    this.#settings = settings
    this.#from = from
  }

  normal(shape: readonly number[], dtype: FloatDType = this.#settings.dtype): FloatTensor {
    const { device } = this.#settings
    // To copy takes a fraction of what random numbers take.
    const equal = this.#from === undefined ? undefined : this.#from.#normals[this.#normals.length]
    const made = equal?.contiguous() ?? Tensor.randn(shape, { dtype, device, seed: this.#normals.length + 1 })
    this.#normals.push(this.keep(made))
    return made
  }

  out(shape: readonly number[]): FloatTensor {
    const { dtype, device } = this.#settings
    return this.keep(Tensor.empty(shape, { dtype, device }))
  }

  keep<T extends Disposable>(thing: T): T {
    this.#kept.push(thing)
    return thing
  }

  dispose(): void {
    for (const thing of this.#kept.splice(0).reverse()) thing[Symbol.dispose]()
  }
}

/** Makes a case; what was made before an error is given back. */
export function openCase(
  settings: BenchSettings, make: (tensors: CaseTensors) => Omit<OpenCase, 'again' | typeof Symbol.dispose>, from?: CaseTensors,
): OpenCase {
  const tensors = new CaseTensors(settings, from)
  try {
    return { ...make(tensors), again: () => openCase(settings, make, tensors), [Symbol.dispose]: () => { tensors.dispose() } }
  } catch (error) {
    tensors.dispose()
    throw error
  }
}

/** The numbers of a part of a tensor, one range per axis. */
export function readPart(tensor: FloatTensor, ranges: readonly (readonly [begin: number, end: number])[]): Float32Array {
  const views: FloatTensor[] = []
  try {
    let part = tensor
    ranges.forEach(([begin, end], axis) => {
      part = part.slice(axis, begin, end)
      views.push(part)
    })
    return part.readSync() as Float32Array
  } finally {
    for (const view of views) view.dispose()
  }
}

/**
 * So many sequences of a cache differ; the others repeat their numbers in pages of their own, which is as much to read and takes less to
 * make: a GPU's numbers come from the host.
 */
const mostDistinct = 4

export function distinctOf(batch: number): number {
  return Math.min(batch, mostDistinct)
}

/** Runs `append` with the rows of each sequence: `rows` [distinct, length, ..] up to the sequence's own length. */
export function appendEach(
  rows: readonly [FloatTensor, FloatTensor], lens: readonly number[], append: (sequence: number, first: FloatTensor, second: FloatTensor) => void,
): void {
  lens.forEach((len, b) => {
    const views: FloatTensor[] = []
    const part = (whole: FloatTensor) => {
      const own = whole.slice(0, b % whole.shape[0]!, (b % whole.shape[0]!) + 1)
      const seen = own.slice(1, 0, len)
      views.push(own, seen)
      return seen
    }
    try {
      append(b, part(rows[0]), part(rows[1]))
    } finally {
      for (const view of views) view.dispose()
    }
  })
}

/** The first index, the last one, and two between. */
export function sampleOf(count: number): readonly number[] {
  return [...new Set([0, Math.floor(count * 0.37), Math.floor(count * 0.71), count - 1])]
}
