import { type DeviceId, throwFailure } from '../../devices'
import { invoke, native, type NativeAttentionOptions, type NativeAttentionResult, type TensorHandle } from '../../native'
import { type DType, dtypeCode } from '../../tensor/dtype'
import { roundTo } from './rounding'

/** Where the tensors of the cases lie, and the kernel that has to answer: see underTest. */
export let device: DeviceId = 'cpu'
let kernelUnderTest = ''

/** Runs cases on a device with every other kernel of the kernel's op locked out. */
export function underTest<R>(id: DeviceId, kernel: string, run: () => R): R {
  const before = [device, kernelUnderTest] as const
  ;[device, kernelUnderTest] = [id, kernel]
  native.forceKernel(kernel)
  try {
    return run()
  } finally {
    ;[device, kernelUnderTest] = before
    native.forceKernel(kernelUnderTest)
  }
}

/** Seeded normal numbers, rounded to the dtype: what is then uploaded arrives exactly. */
export function randomNumbers(seed: number, length: number, dtype: DType, scale = 1): Float64Array {
  let state = seed >>> 0
  // mulberry32 (public domain, T. Ettinger), two uniform numbers per normal one (Box and Muller).
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return Float64Array.from({ length }, () => roundTo(dtype, scale * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())))
}

/** Runs with handles that are all given back at the end, also after an error. An op gives null where it wrote to `out`; none here does. */
export function withHandles<R>(use: (keep: (handle: TensorHandle | null) => TensorHandle) => R): R {
  const handles: TensorHandle[] = []
  try {
    return use((handle) => {
      if (handle === null) throw new Error('an op returned no tensor')
      handles.push(handle)
      return handle
    })
  } finally {
    for (const handle of handles) native.tensorDispose(handle)
  }
}

export function upload(dtype: DType, shape: readonly number[], numbers: ArrayLike<number>): TensorHandle {
  return invoke(() => native.tensorFromNumbers(device, dtypeCode(dtype), shape, Float64Array.from(numbers)))
}

export function download(handle: TensorHandle, length: number): Float32Array {
  return readInto(handle, new Float32Array(length))
}

/** Numbers of a tensor as they are, integers too. */
export function downloadOf(dtype: DType, handle: TensorHandle, length: number): Float32Array | Int32Array {
  return dtype === 'int32' ? readInto(handle, new Int32Array(length)) : download(handle, length)
}

/** Reading converts, which is a copy: any kernel may do that. */
function readInto<A extends Float32Array | Int32Array>(handle: TensorHandle, numbers: A): A {
  native.forceKernel('')
  try {
    throwFailure(device, invoke(() => native.readNumbersSync(handle, numbers)))
  } finally {
    native.forceKernel(kernelUnderTest)
  }
  return numbers
}

export interface CaseOptions {
  readonly causal?: boolean
  readonly windowLeft?: number
  readonly softmaxScale?: number
  readonly logitSoftcap?: number
  readonly alibiSlopes?: TensorHandle | null
  readonly sinks?: TensorHandle | null
  readonly queryScales?: TensorHandle | null
  readonly keyScales?: TensorHandle | null
  readonly valueScales?: TensorHandle | null
}

/** The options of a call that returns out and lse. */
export function attentionOptions(options: CaseOptions): NativeAttentionOptions {
  const { causal = false, windowLeft = -1, softmaxScale = NaN, logitSoftcap = 0, alibiSlopes = null, sinks = null } = options
  const { queryScales = null, keyScales = null, valueScales = null } = options
  return [causal, windowLeft, -1, softmaxScale, logitSoftcap, alibiSlopes, sinks, true, null, queryScales, keyScales, valueScales, -1]
}

/** What such a call returns. */
export function outAndLse(result: NativeAttentionResult): readonly [out: TensorHandle, lse: TensorHandle] {
  return result as readonly [TensorHandle, TensorHandle]
}
