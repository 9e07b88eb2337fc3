// The arguments of what makes tensors: checked, in the form that the addon takes.
import { freemem } from 'node:os'
import { checkInteger, checkOptions, fail } from '../check'
import { checkDevice, type DeviceId } from '../devices'
import { ArgumentError, ResourceError } from '../errors'
import { bytesPerElement, checkDType, hostArray, hostArrayName, isHostArray, type DType, type DTypeMap } from './dtype'
import { sizeOf, type Shape } from './shape'

export interface TensorOptions<D extends DType> {
  /** Default 'float32'. */
  dtype?: D
  /** Default 'cpu'. */
  device?: DeviceId
}

export function tensorOptions<D extends DType>(options: (TensorOptions<D> & { seed?: number }) | undefined, more: readonly 'seed'[] = []) {
  const { dtype = 'float32' as D, device = 'cpu', seed } = checkOptions('options', options, ['dtype', 'device', ...more])
  checkDType('options.dtype', dtype)
  return { dtype, device: checkDevice('options.device', device), seed }
}

export function checkBits<D extends DType>(bits: unknown, size: number, dtype: D): asserts bits is DTypeMap[D] {
  if (!isHostArray(dtype, bits)) fail('bits', `a ${hostArrayName(dtype)}`, bits)
  if (bits.length !== size) throw new ArgumentError('bits', `${size} elements`, `${bits.length}`, 'SHAPE_MISMATCH')
}

export function checkFixedLength(bits: ArrayBufferView): void {
  const buffer = bits.buffer as ArrayBufferLike & { resizable?: boolean; growable?: boolean }
  if (buffer.resizable === true || buffer.growable === true) {
    throw new ArgumentError('bits', 'an array over a buffer of fixed length', 'one over a resizable buffer')
  }
}

/** Of undefined contents, or ResourceError. */
export function hostArrayFor<D extends DType>(shape: Shape, dtype: D): DTypeMap[D] {
  const size = sizeOf(shape)
  try {
    return hostArray(dtype, size)
  } catch {
    const bytes = size * bytesPerElement(dtype)
    throw new ResourceError('OUT_OF_MEMORY', `an array of ${bytes} bytes is more than there is memory for`, bytes, freemem())
  }
}

/** float64 unless the data is float32 or int32 already: so that each number is rounded once, on the way to the dtype. */
export function hostNumbers(data: unknown, size: number, dtype: DType): Float64Array | Float32Array | Int32Array {
  const list = data as ArrayLike<unknown> | null | undefined
  if (typeof list !== 'object' || list === null || !Number.isInteger(list.length) || list.length < 0) fail('data', 'an array of numbers', data)
  if (list.length !== size) throw new ArgumentError('data', `${size} numbers`, `${list.length}`, 'SHAPE_MISMATCH')
  if (isHostArray('float32', data) && dtype !== 'int32') return data
  if (isHostArray('int32', data)) return data
  const numbers = new Float64Array(size)
  for (let i = 0; i < size; ++i) {
    const value = list[i]
    if (typeof value !== 'number') fail(`data[${i}]`, 'a number', value)
    numbers[i] = dtype === 'int32' ? checkInteger(`data[${i}]`, value, -0x80000000, 0x7fffffff) : value
  }
  return numbers
}
