import type { FileHandle } from 'node:fs/promises'
import { describeValue, fail } from '../check'
import { ArgumentError, FileError } from '../errors'
import type { FloatDType } from '../tensor/dtype'
import type { Shape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { closeQuietly, openForReading, readFully, stampOf, type FileStamp } from './file-access'
import { allocateHost, checkLoadOptions, toTensor, type HostTensor, type LoadOptions } from './host-tensor'
import { loadableDTypes, tensorDType } from './safetensors-dtype'
import { headerLength, lengthBytes, parseHeader, type TensorEntry } from './safetensors-header'

/** A file that was dropped without close() gives its descriptor back when it is collected. */
const abandoned = new FinalizationRegistry<FileHandle>((handle) => void closeQuietly(handle))

/**
 * A safetensors file, opened lazily: `open` reads and checks the header, `load` reads the bytes of one tensor.
 *
 * A method that returns a promise reports every error by rejecting: FileError (INVALID_FILE) for anything wrong with the file,
 * ArgumentError for anything wrong with the call.
 *
 * Source of the format: the safetensors specification (8 bytes of header length, JSON header, data; little endian, row-major, no holes).
 * @example
 * const file = await SafetensorsFile.open('model.safetensors')
 * const weight = await file.load('model.norm.weight', { dtype: 'float32' })
 * file.close()
 */
export class SafetensorsFile implements Disposable {
  readonly path: string
  /** In the order of the header. */
  readonly names: readonly string[]
  readonly #handle: FileHandle
  readonly #entries: ReadonlyMap<string, TensorEntry>
  /** Where the data begin, in bytes. */
  readonly #dataStart: number
  readonly #stamp: FileStamp
  #running = 0
  #closed = false

  private constructor(path: string, handle: FileHandle, stamp: FileStamp, entries: ReadonlyMap<string, TensorEntry>, dataStart: number) {
    this.path = path
    this.names = Object.freeze([...entries.keys()])
    this.#handle = handle
    this.#stamp = stamp
    this.#entries = entries
    this.#dataStart = dataStart
    abandoned.register(this, handle, this)
  }

  /** Reads the header only. Rejects with FileError unless the whole file is valid: header, shapes and byte ranges. */
  static async open(path: string): Promise<SafetensorsFile> {
    if (typeof path !== 'string' || path === '' || path.includes('\0')) fail('path', 'the path of a safetensors file', path)
    const handle = await openForReading(path)
    try {
      const stamp = await stampOf(path, handle)
      if (stamp.bytes < lengthBytes) {
        throw new FileError(path, `expected a safetensors file of at least ${lengthBytes} bytes, received ${stamp.bytes} bytes`)
      }
      const first = new Uint8Array(lengthBytes)
      await readFully(path, handle, first, 0)
      const header = new Uint8Array(headerLength(path, first, stamp.bytes))
      await readFully(path, handle, header, lengthBytes)
      const dataStart = lengthBytes + header.length
      return new SafetensorsFile(path, handle, stamp, parseHeader(path, header, stamp.bytes - dataStart), dataStart)
    } catch (error) {
      await closeQuietly(handle)
      throw error
    }
  }

  has(name: string): boolean {
    return this.#entries.has(name)
  }

  /**
   * dtype as the format names it ('BF16'), shape outermost first. Works after close() too.
   * Throws ArgumentError for a name that the file does not hold.
   */
  info(name: string): { readonly dtype: string; readonly shape: Shape } {
    const { dtype, shape } = this.#entry(name)
    return { dtype, shape }
  }

  /**
   * One tensor on `device` (default 'cpu'), converted to `dtype` (default: as stored). F32, F16, BF16 and F8_E4M3 can be loaded.
   * F8_E4M3 gives the stored codes: block scales are applied by loadAttentionWeights and loadMlaWeights only.
   *
   * Rejects with ArgumentError (unknown name; UNSUPPORTED for another dtype; DISPOSED after close()), ResourceError (no memory) or
   * FileError (the file changed since open()).
   */
  async load<D extends FloatDType = FloatDType>(name: string, options?: LoadOptions<D>): Promise<Tensor<D>> {
    const { device, dtype } = checkLoadOptions(options)
    return toTensor(await this.readBits(name), device, dtype) as Tensor<D>
  }

  /** The element bits of one tensor on the host, as stored. Rejects as load() does. */
  async readBits(name: string): Promise<HostTensor> {
    if (this.#closed) throw new ArgumentError('file', 'an open SafetensorsFile', 'a closed one', 'DISPOSED')
    const { dtype: stored, shape, begin, end } = this.#entry(name)
    const dtype = tensorDType(stored)
    if (dtype === undefined) throw new ArgumentError(name, loadableDTypes, stored, 'UNSUPPORTED')
    this.#running += 1
    try {
      const bits = allocateHost(this.path, name, dtype, shape, end - begin)
      const bytes = new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength)
      await readFully(this.path, this.#handle, bytes, this.#dataStart + begin)
      await this.#checkUnchanged()
      return { dtype, shape, bits }
    } finally {
      this.#running -= 1
      this.#releaseWhenIdle()
    }
  }

  /** Idempotent. Loads that run already finish; later ones reject. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#releaseWhenIdle()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #releaseWhenIdle(): void {
    if (!this.#closed || this.#running > 0) return
    abandoned.unregister(this)
    void closeQuietly(this.#handle)
  }

  /** Called after reading: a change before or during the read shows. */
  async #checkUnchanged(): Promise<void> {
    const { bytes, modified } = await stampOf(this.path, this.#handle)
    if (bytes !== this.#stamp.bytes || modified !== this.#stamp.modified) {
      throw new FileError(this.path, 'expected the file as it was opened, received one that was changed since')
    }
  }

  #entry(name: string): TensorEntry {
    const entry = this.#entries.get(name)
    if (entry !== undefined) return entry
    const shown = typeof name === 'string' ? `'${name.slice(0, 200)}'` : describeValue(name)
    throw new ArgumentError('name', `one of the ${this.#entries.size} tensors of ${this.path}`, shown)
  }
}
