/** Operands in float8_e4m3 with scales, as numbers that they stand for. */
import { UnsupportedError, type DeviceId, type Tensor } from '../../lib/index'
import type { AttentionArrays } from '../reference/attention'
import { roundAll, roundTo } from '../reference/rounding'
import { testDevices } from './devices'
import type { Random } from './random'
import { tensorOf } from './tensors'

const { abs, fround, max } = Math

/** What saturating storage keeps of a number: the nearest, ±448 beyond. */
export function saturate(value: number): number {
  return Number.isNaN(value) ? NaN : roundTo('float8_e4m3', Math.min(448, Math.max(-448, value)))
}

/** Scales that are no powers of two, [batch, heads] or [heads]. */
export function randomScales(count: number, random: Random): Float64Array {
  return roundAll('float32', Float64Array.from({ length: count }, () => 0.05 + random.uniform()))
}

/** values[.., heads, dim] times the scale of each head, of sequence `b` where there is one for each. */
export function dequantised(codes: ArrayLike<number>, scales: ArrayLike<number> | undefined, heads: number, dim: number, perSequence = Infinity): Float64Array {
  return Float64Array.from(codes, (code, i) => {
    const head = Math.floor(i / dim) % heads
    const b = Math.floor(i / perSequence)
    return scales ? code * scales[scales.length > heads ? b * heads + head : head]! : code
  })
}

/** q takes the scale of its kv head. */
export function scaledQueries(codes: ArrayLike<number>, scales: ArrayLike<number> | undefined, { qoLen, numQoHeads, numKvHeads, headDimQk }: AttentionArrays): Float64Array {
  const group = numQoHeads / numKvHeads
  const perHead = scales && Float64Array.from({ length: (scales.length / numKvHeads) * numQoHeads }, (_, i) => scales[Math.floor(i / group)]!)
  return dequantised(codes, perHead, numQoHeads, headDimQk, qoLen * numQoHeads * headDimQk)
}

export const latentDim = 512
export const ropeDim = 64
const groupDim = 128

/** The row that MlaKvCache stores in float8_e4m3 of a float32 latent and rope key, as its definition says: [512 latent | 64 rope key] and the scales. */
export function storedLatent(ckv: ArrayLike<number>, kPe: ArrayLike<number>): { readonly values: Float64Array; readonly codes: Float64Array; readonly scales: Float64Array } {
  const values = new Float64Array(latentDim + ropeDim)
  const codes = new Float64Array(latentDim)
  const scales = new Float64Array(latentDim / groupDim)
  for (let g = 0; g < scales.length; ++g) {
    let largest = 0
    for (let d = g * groupDim; d < (g + 1) * groupDim; ++d) if (!Number.isNaN(ckv[d]!)) largest = max(largest, abs(ckv[d]!))
    scales[g] = max(fround(largest / 448), 2 ** -126)
    for (let d = g * groupDim; d < (g + 1) * groupDim; ++d) {
      codes[d] = saturate(fround(ckv[d]! / scales[g]!))
      values[d] = codes[d]! * scales[g]!
    }
  }
  values.set(roundAll('bfloat16', kPe), latentDim)
  return { values, codes, scales }
}

export function scalesTensor(scales: ArrayLike<number>, shape: readonly number[], device: DeviceId): Tensor<'float32'> {
  return tensorOf(scales as Float64Array, shape, 'float32', device)
}

/**
 * The devices that have kernels for a call with float8_e4m3, and those whose rows all turn it down. The CPU always has them; where others do not,
 * tests hold them to a refusal that names each row.
 */
export function devicesByKernels(call: (device: DeviceId) => unknown): { readonly able: readonly DeviceId[]; readonly refusing: readonly DeviceId[] } {
  const able: DeviceId[] = []
  const refusing: DeviceId[] = []
  for (const device of testDevices) {
    if (device === 'cpu' || !refuses(() => call(device))) able.push(device)
    else refusing.push(device)
  }
  return { able, refusing }
}

function refuses(call: () => unknown): boolean {
  try {
    call()
    return false
  } catch (error) {
    if (error instanceof UnsupportedError) return true
    throw error
  }
}

/** A refusal that is one: an UnsupportedError with the reason of every row. */
export function expectRefusal(call: () => unknown): void {
  expect(call).toThrow(UnsupportedError)
  try {
    call()
  } catch (error) {
    const { rejected } = error as UnsupportedError
    expect(rejected.every(({ reason }) => reason.length > 0)).toBe(true)
  }
}
