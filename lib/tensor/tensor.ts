import { markAsUntransferable } from 'node:worker_threads'
import { checkInteger, fail } from '../check'
import { checkDevice, throwFailure, type DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { invoke, native, whenRun, type TensorHandle } from '../native'
import { bytesPerElement, checkDType, dtypeCode, hostArray, type DType, type DTypeMap, type FloatDType } from './dtype'
import { checkShape, inferAxis, packedStrides, reshapedStrides, shapeText, sizeOf, type Shape } from './shape'
import { checkBits, checkFixedLength, hostArrayFor, hostNumbers, tensorOptions, type TensorOptions } from './tensor-arguments'

interface Facts<D extends DType> {
  readonly handle: TensorHandle
  readonly dtype: D
  readonly shape: Shape
  /** Absent where the elements are packed. */
  readonly strides?: readonly number[]
  readonly device: DeviceId
  /** The host array behind a tensor made by `wrap`. */
  readonly wrapped?: ArrayBufferView
}

/** Lets the functions at the end of this file, and nobody else, make tensors and reach their handles. */
let construct: <D extends DType>(facts: Facts<D>) => Tensor<D>
let factsOf: (tensor: object) => Facts<DType> | undefined

/**
 * A strided, row-major view of numbers on a device. Views (reshape, slice, transpose) share memory; it is freed when the
 * last of them is disposed or collected and no queued work uses it any more.
 *
 * @example
 * ```ts
 * const x = Tensor.from([1, 2, 3, 4], [2, 2], { dtype: 'bfloat16' })
 * await x.transpose(0, 1).read()    // Float32Array [1, 3, 2, 4]
 * x.dispose()
 * ```
 */
export class Tensor<D extends DType = DType> implements Disposable {
  readonly #facts: Facts<D>
  #disposed = false
  /** Worked out when asked for: most results of a decode step never are. */
  #strides: readonly number[] | undefined
  readonly dtype: D
  readonly shape: Shape
  readonly device: DeviceId

  static {
    construct = (facts) => new Tensor(facts)
    factsOf = (tensor) => (#facts in tensor ? tensor.#facts : undefined)
  }

  private constructor(facts: Facts<D>) {
    this.#facts = facts
    this.dtype = facts.dtype
    this.shape = facts.shape
    this.#strides = facts.strides
    this.device = facts.device
  }

  /**
   * Copies host numbers, converting (round to nearest even, from the numbers' own precision) to `dtype`.
   * float8_e4m3 has no infinity: what lies beyond its largest, 448, becomes NaN. int32 takes integers of its range.
   */
  static from<D extends DType = 'float32'>(data: ArrayLike<number>, shape: Shape, options?: TensorOptions<D>): Tensor<D> {
    const { dtype, device } = tensorOptions(options)
    const axes = checkShape('shape', shape, dtype)
    const numbers = hostNumbers(data, sizeOf(axes), dtype)
    return packed(dtype, axes, device, invoke(() => native.tensorFromNumbers(device, dtypeCode(dtype), axes, numbers)))
  }

  /** Copies raw element bits: a Uint16Array for the half types, a Uint8Array for float8_e4m3. */
  static fromBits<D extends DType>(bits: DTypeMap[D], shape: Shape, options: TensorOptions<D> & { dtype: D }): Tensor<D> {
    const { dtype, device } = tensorOptions(options)
    const axes = checkShape('shape', shape, dtype)
    checkBits(bits, sizeOf(axes), dtype)
    return packed(dtype, axes, device, invoke(() => native.tensorFromBits(device, dtypeCode(dtype), axes, bits)))
  }

  /**
   * Zero-copy view of host memory, CPU only. Do not write to it while queued work uses it. The array's buffer is marked
   * as untransferable; resizable buffers are refused, since shrinking one would pull the memory away.
   */
  static wrap<D extends DType>(bits: DTypeMap[D], shape: Shape, dtype: D): Tensor<D> {
    checkDType('dtype', dtype)
    const axes = checkShape('shape', shape, dtype)
    checkBits(bits, sizeOf(axes), dtype)
    checkFixedLength(bits)
    markAsUntransferable(bits.buffer)
    const handle = invoke(() => native.tensorWrap(dtypeCode(dtype), axes, bits))
    return construct({ handle, dtype, shape: axes, device: 'cpu', wrapped: bits })
  }

  /**
   * A host array of undefined contents, for `wrap`: an op writes its results there (`out`), which takes neither the time to clear the array nor that
   * to copy them. What the memory held before is seen until then.
   *
   * @example
   * ```ts
   * const bits = Tensor.emptyBits(q.shape, 'float32')
   * using out = Tensor.wrap(bits, q.shape, 'float32')
   * flashAttention(q, k, v, { out })
   * await devices.synchronize()       // bits hold the result
   * ```
   */
  static emptyBits<D extends DType>(shape: Shape, dtype: D): DTypeMap[D] {
    checkDType('dtype', dtype)
    return hostArrayFor(checkShape('shape', shape, dtype), dtype)
  }

  /** Undefined contents. */
  static empty<D extends DType = 'float32'>(shape: Shape, options?: TensorOptions<D>): Tensor<D> {
    const { dtype, device } = tensorOptions(options)
    const axes = checkShape('shape', shape, dtype)
    return packed(dtype, axes, device, invoke(() => native.tensorEmpty(device, dtypeCode(dtype), axes)))
  }

  static zeros<D extends DType = 'float32'>(shape: Shape, options?: TensorOptions<D>): Tensor<D> {
    const { dtype, device } = tensorOptions(options)
    const axes = checkShape('shape', shape, dtype)
    return packed(dtype, axes, device, invoke(() => native.tensorZeros(device, dtypeCode(dtype), axes)))
  }

  /**
   * Standard normal numbers from a seed (a safe integer, 0 by default); the same bits on every device and thread count.
   * For tests, examples and benchmarks.
   */
  static randn<D extends FloatDType = 'float32'>(shape: Shape, options?: TensorOptions<D> & { seed?: number }): Tensor<D> {
    const { dtype, device, seed } = tensorOptions(options, ['seed'])
    if (dtype === ('int32' as DType)) fail('options.dtype', 'a float dtype', dtype)
    const axes = checkShape('shape', shape, dtype)
    const start = checkInteger('options.seed', seed ?? 0, 0)
    return packed(dtype, axes, device, invoke(() => native.randn(device, dtypeCode(dtype), axes, start)))
  }

  /** In elements. */
  get strides(): readonly number[] {
    return (this.#strides ??= packedStrides(this.shape))
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** Bytes of the elements, without gaps between them. */
  get byteLength(): number {
    return this.size * bytesPerElement(this.dtype)
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /** The same elements in another shape, as a view; one axis may be -1. Throws where strides make a copy necessary: `contiguous()` first. */
  reshape(shape: Shape): Tensor<D> {
    const facts = this.#live()
    const axes = inferAxis(shape, this.size, facts.dtype)
    const strides = reshapedStrides(this.shape, this.strides, axes)
    if (strides === undefined) {
      throw new ArgumentError('shape', `a shape that strides ${shapeText(this.strides)} allow without a copy (contiguous() makes one)`, shapeText(axes))
    }
    return this.#view(0, axes, strides)
  }

  /** Elements begin … end - 1 of an axis, as a view. */
  slice(axis: number, begin: number, end: number): Tensor<D> {
    this.#live()
    const at = this.#axis('axis', axis)
    const extent = this.shape[at]!
    const first = checkInteger('begin', begin, 0, extent)
    const last = checkInteger('end', end, first, extent)
    return this.#view(first * this.strides[at]!, Object.freeze(this.shape.with(at, last - first)), this.strides)
  }

  /** Two axes exchanged, as a view. */
  transpose(axisA: number, axisB: number): Tensor<D> {
    this.#live()
    const a = this.#axis('axisA', axisA)
    const b = this.#axis('axisB', axisB)
    const swapped = <T>(list: readonly T[]): readonly T[] => Object.freeze(list.with(a, list[b]!).with(b, list[a]!))
    return this.#view(0, swapped(this.shape), swapped(this.strides))
  }

  /** A packed copy, on the same device. */
  contiguous(): Tensor<D> {
    return this.cast(this.dtype)
  }

  /** The tensor on a device: a view where it is there already, else a packed copy, for which the work enqueued before it is waited for. */
  to(device: DeviceId): Tensor<D> {
    const { handle } = this.#live()
    const wanted = checkDevice('device', device)
    if (wanted === this.device) return this.#view(0, this.shape, this.strides)
    return packed(this.dtype, this.shape, wanted, invoke(() => native.tensorTo(handle, wanted)))
  }

  /** A packed copy with another dtype; floats round to nearest even, int32 cuts toward zero and saturates. */
  cast<T extends DType>(dtype: T): Tensor<T> {
    const facts = this.#live()
    checkDType('dtype', dtype)
    const copy = Tensor.empty(this.shape, { dtype, device: this.device })
    invoke(() => {
      native.copy(facts.handle, copy.#facts.handle)
    })
    return copy
  }

  /**
   * Host copy as numbers in row-major order; every float type is widened. Waits for all work enqueued before it: the queue is in order. On the CPU
   * the calling thread does it itself where all of that should take no more than 50 µs.
   * Rejects with DeviceError when work enqueued before it failed.
   */
  async read(): Promise<Float32Array | Int32Array> {
    const { handle, device } = this.#live()
    const into = this.#hostNumbers()
    throwFailure(device, await whenRun(invoke(() => native.readNumbers(handle, into))))
    return into
  }

  /** As `read`, blocking; on the CPU the calling thread runs queued work instead of sleeping. */
  readSync(): Float32Array | Int32Array {
    const { handle, device } = this.#live()
    const into = this.#hostNumbers()
    throwFailure(device, invoke(() => native.readNumbersSync(handle, into)))
    return into
  }

  /** Host copy of the element bits. */
  async readBits(): Promise<DTypeMap[D]> {
    const { handle, device } = this.#live()
    const into = hostArray(this.dtype, this.size)
    throwFailure(device, await whenRun(invoke(() => native.readBits(handle, into))))
    return into
  }

  /** Lets go of the memory. Idempotent, and always safe: views and queued work keep it until they are done. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    native.tensorDispose(this.#facts.handle)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #live(): Facts<D> {
    checkLive('tensor', this, this.#facts)
    return this.#facts
  }

  #axis(argument: string, axis: number): number {
    if (this.shape.length === 0) throw new ArgumentError(argument, 'a tensor that has axes', 'shape []')
    return checkInteger(argument, axis, 0, this.shape.length - 1)
  }

  #hostNumbers(): Float32Array | Int32Array {
    return hostArray(this.dtype === 'int32' ? 'int32' : 'float32', this.size)
  }

  #view(offset: number, shape: Shape, strides: readonly number[]): Tensor<D> {
    const facts = this.#facts
    return construct({ ...facts, handle: invoke(() => native.tensorView(facts.handle, offset, shape, strides)), shape, strides })
  }
}

export type FloatTensor = Tensor<FloatDType>
export type IndexTensor = Tensor<'int32'>

// ── for the package's own files ──────────────────────────────────────────────────────────────────────────────────

function packed<D extends DType>(dtype: D, shape: Shape, device: DeviceId, handle: TensorHandle): Tensor<D> {
  return construct({ handle, dtype, shape, device })
}

/** A tensor that the addon allocated, packed. `shape` becomes its own, frozen. */
export function fromHandle<D extends DType>(handle: TensorHandle, dtype: D, shape: readonly number[], device: DeviceId): Tensor<D> {
  return packed(dtype, Object.freeze(shape), device, handle)
}

function checkLive(argument: string, tensor: Tensor, facts: Facts<DType>): void {
  if (tensor.disposed) throw new ArgumentError(argument, 'a live tensor', 'a disposed tensor', 'DISPOSED')
  // A detached buffer shows in the length of its arrays.
  if (facts.wrapped?.byteLength === 0 && tensor.size > 0) {
    throw new ArgumentError(argument, 'wrapped memory that is still there', 'memory of a detached buffer', 'DISPOSED')
  }
}

/** A live tensor of this package, or ArgumentError. */
export function checkTensor(argument: string, value: unknown): Tensor {
  const facts = typeof value === 'object' && value !== null ? factsOf(value) : undefined
  if (facts === undefined) fail(argument, 'a Tensor', value)
  checkLive(argument, value as Tensor, facts)
  return value as Tensor
}

/** The handle of a live tensor that wraps no host memory; else undefined: handleOf says what is wrong, if anything is. Builds no texts. */
export function plainHandleOf(value: unknown): TensorHandle | undefined {
  const facts = typeof value === 'object' && value !== null ? factsOf(value) : undefined
  return facts === undefined || facts.wrapped !== undefined || (value as Tensor).disposed ? undefined : facts.handle
}

export function handleOf(argument: string, value: unknown): TensorHandle {
  return factsOf(checkTensor(argument, value))!.handle
}

export function optionalHandleOf(argument: string, value: unknown): TensorHandle | null {
  return value === undefined ? null : handleOf(argument, value)
}
