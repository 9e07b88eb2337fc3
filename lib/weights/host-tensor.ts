import { freemem } from 'node:os'
import { checkOptions, fail } from '../check'
import { checkDevice, type DeviceId } from '../devices'
import { ResourceError } from '../errors'
import { checkDType, hostArray, type DTypeMap, type FloatDType } from '../tensor/dtype'
import { sizeOf, type Shape } from '../tensor/shape'
import { Tensor, type FloatTensor } from '../tensor/tensor'

/** The elements of a tensor as they lie in the file. */
export interface HostTensor<D extends FloatDType = FloatDType> {
  readonly dtype: D
  readonly shape: Shape
  readonly bits: DTypeMap[D]
}

export interface LoadOptions<D extends FloatDType = FloatDType> {
  /** Default 'cpu'. */
  readonly device?: DeviceId
  /** Default: as stored. */
  readonly dtype?: D
}

/** Checked, with the default device; `dtype` undefined means as stored. */
export function checkLoadOptions(options: LoadOptions | undefined): { readonly device: DeviceId; readonly dtype: FloatDType | undefined } {
  const { device = 'cpu', dtype } = checkOptions('options', options, ['device', 'dtype'])
  return { device: checkDevice('options.device', device), dtype: dtype === undefined ? undefined : checkFloatDType(dtype) }
}

function checkFloatDType(value: unknown): FloatDType {
  const dtype = checkDType('options.dtype', value)
  return dtype === 'int32' ? fail('options.dtype', 'a float dtype', dtype) : dtype
}

/** A zeroed host array for a tensor of a file; ResourceError where memory has no room for it. */
export function allocateHost<D extends FloatDType>(path: string, name: string, dtype: D, shape: Shape, bytes: number): DTypeMap[D] {
  try {
    return hostArray(dtype, sizeOf(shape))
  } catch {
    // The length is a checked integer, so that only its size can have failed.
    throw new ResourceError('OUT_OF_MEMORY', `${path}: no memory for the ${bytes} bytes of '${name}'`, bytes, freemem())
  }
}

export function toTensor({ dtype: stored, shape, bits }: HostTensor, device: DeviceId, dtype: FloatDType = stored): FloatTensor {
  const tensor: FloatTensor = Tensor.fromBits(bits, shape, { dtype: stored, device })
  if (dtype === stored) return tensor
  try {
    return tensor.cast(dtype)
  } finally {
    tensor.dispose()
  }
}

/** The numbers of a host tensor; converted by the addon, which has the only conversions of the package. */
export async function widen({ dtype, bits }: HostTensor): Promise<Float32Array> {
  if (dtype === 'float32') return bits as Float32Array
  const tensor: FloatTensor = Tensor.fromBits<FloatDType>(bits, [bits.length], { dtype })
  try {
    return (await tensor.read()) as Float32Array
  } finally {
    tensor.dispose()
  }
}
