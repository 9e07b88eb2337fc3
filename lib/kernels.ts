import type { DeviceType } from './devices'
import { native } from './native'
import type { DType } from './tensor/dtype'

/** One kernel of this build. */
export interface KernelInfo {
  readonly name: string
  readonly op: string
  readonly device: DeviceType
  readonly arch: string
  readonly dtypes: readonly DType[]
  /** Human-readable dims, e.g. '64,128,256' or '192/128' or 'any'. */
  readonly headDims: string
}

/** Which kernels this build has, from the kernel registry, in the order in which they are tried. */
export function kernels(): readonly KernelInfo[] {
  return native.kernels().map(({ name, op, device, arch, dtypes, headDims }) => ({
    name, op, device: device as DeviceType, arch, dtypes: dtypes as DType[], headDims,
  }))
}
