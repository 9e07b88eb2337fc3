import { checkIntegers, checkOptions } from '../check'
import type { PagedCache } from '../cache/paged-cache'
import type { Sequence } from '../cache/sequence'
import type { DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { checkTensor, type FloatTensor, type IndexTensor } from '../tensor/tensor'
import type { ForwardOptions } from './config'

/** One forward call with everything checked that can be checked before work is enqueued. */
export interface ForwardInputs<Cache> {
  readonly x: FloatTensor
  readonly batch: number
  readonly len: number
  /** [batch] valid rows; undefined when all are. */
  readonly lens: Int32Array | undefined
  readonly positions: IndexTensor | undefined
  readonly store: { readonly cache: Cache; readonly sequences: readonly Sequence[] } | undefined
}

/** `pagesOf` checks that the cache is live and of the module's shape. */
export function checkForward<Cache extends object, Extra extends string>(
  input: unknown, options: (ForwardOptions<Cache> & { readonly [key in Extra]?: unknown }) | undefined, extra: readonly Extra[],
  hiddenSize: number, device: DeviceId, pagesOf: (cache: Cache) => PagedCache,
): ForwardInputs<Cache> {
  const given = checkOptions('options', options, ['cache', 'sequences', 'positions', 'lens', ...extra])
  const x = checkInput(input, hiddenSize, device)
  const [batch, len] = x.shape as [number, number]
  const lens = given.lens === undefined ? undefined : checkIntegers('options.lens', given.lens, 0, len, batch)
  const positions = given.positions === undefined ? undefined : checkPositions(given.positions, batch, len, device)
  const { cache, sequences } = given
  if (cache === undefined) {
    if (sequences !== undefined) throw new ArgumentError('options.cache', 'the cache of the sequences', 'undefined')
    return { x, batch, len, lens: padded(lens, len), positions, store: undefined }
  }
  const pages = pagesOf(cache)
  if (pages.device !== device) throw new ArgumentError('options.cache', `the device of the weights (${device})`, pages.device)
  if (!Array.isArray(sequences)) throw new ArgumentError('options.sequences', `${batch} sequences of the cache`, typeof sequences)
  if (sequences.length !== batch) throw new ArgumentError('options.sequences', `${batch} sequences, one per row of the batch`, `${sequences.length}`)
  const list = [...(sequences as readonly Sequence[])]
  pages.checkAppend(list, lens ?? new Int32Array(batch).fill(len))
  return { x, batch, len, lens: padded(lens, len), positions, store: { cache, sequences: list } }
}

/** Without padding there is nothing to tell the kernels. */
function padded(lens: Int32Array | undefined, len: number): Int32Array | undefined {
  return lens?.some((count) => count < len) ? lens : undefined
}

function checkInput(value: unknown, hiddenSize: number, device: DeviceId): FloatTensor {
  const x = checkTensor('x', value)
  if (x.shape.length !== 3 || x.shape[2] !== hiddenSize) {
    throw new ArgumentError('x', `shape [batch, len, hiddenSize] with hiddenSize ${hiddenSize}`, `[${x.shape.join(', ')}]`, 'SHAPE_MISMATCH')
  }
  if (x.dtype === 'int32' || x.dtype === 'float8_e4m3') throw new ArgumentError('x', 'dtype float32, float16 or bfloat16', x.dtype)
  if (x.device !== device) throw new ArgumentError('x', `the device of the weights (${device})`, x.device)
  return x as FloatTensor
}

function checkPositions(value: unknown, batch: number, len: number, device: DeviceId): IndexTensor {
  const positions = checkTensor('options.positions', value)
  if (positions.dtype !== 'int32') throw new ArgumentError('options.positions', 'dtype int32', positions.dtype)
  if (positions.shape.length !== 2 || positions.shape[0] !== batch || positions.shape[1] !== len) {
    throw new ArgumentError('options.positions', `shape [batch, len] = [${batch}, ${len}]`, `[${positions.shape.join(', ')}]`, 'SHAPE_MISMATCH')
  }
  if (positions.device !== device) throw new ArgumentError('options.positions', `the device of the weights (${device})`, positions.device)
  return positions as IndexTensor
}
