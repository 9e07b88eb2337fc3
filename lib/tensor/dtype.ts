import { checkOneOf } from '../check'

/** Host representation of each element type. Half and 8-bit floats are raw bits on the host. */
export interface DTypeMap {
  float32: Float32Array
  float16: Uint16Array
  bfloat16: Uint16Array
  float8_e4m3: Uint8Array
  int32: Int32Array
}
export type DType = keyof DTypeMap
export type FloatDType = Exclude<DType, 'int32'>
/** What every op computes with. */
export type ComputeDType = Exclude<FloatDType, 'float8_e4m3'>

/** In the order of native/core/dtype.def: the index is the number that the addon uses. */
export const dtypes = ['float32', 'float16', 'bfloat16', 'float8_e4m3', 'int32'] as const satisfies readonly DType[]

export const computeDTypes = ['float32', 'float16', 'bfloat16'] as const satisfies readonly ComputeDType[]

const hostArrays = { float32: Float32Array, float16: Uint16Array, bfloat16: Uint16Array, float8_e4m3: Uint8Array, int32: Int32Array }

export function dtypeCode(dtype: DType): number {
  return dtypes.indexOf(dtype)
}

export function bytesPerElement(dtype: DType): number {
  return hostArrays[dtype].BYTES_PER_ELEMENT
}

/** To clear fewer bytes takes no time. */
const fewBytes = 4096

/** A host array for the bits of `length` elements, all of which will be written before anybody sees them: their memory is not cleared. */
export function hostArray<D extends DType>(dtype: D, length: number): DTypeMap[D] {
  const bytes = length * bytesPerElement(dtype)
  return (bytes <= fewBytes ? new hostArrays[dtype](length) : new hostArrays[dtype](Buffer.allocUnsafeSlow(bytes).buffer)) as DTypeMap[D]
}

export function isHostArray<D extends DType>(dtype: D, value: unknown): value is DTypeMap[D] {
  // By tag and not by instanceof: arrays of another realm (a vm context, Jest) are as good.
  return ArrayBuffer.isView(value) && (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === hostArrays[dtype].name
}

export function hostArrayName(dtype: DType): string {
  return hostArrays[dtype].name
}

export function checkDType(argument: string, value: unknown): DType {
  return checkOneOf(argument, value, dtypes)
}
