import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bitsOf, roundTo, type RoundedDType } from '../reference/rounding'
import type { Random } from './random'

/** A tensor to write: `bytes` little endian and row-major. */
export interface StoredTensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

const names: Readonly<Record<RoundedDType, string>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16', float8_e4m3: 'F8_E4M3' }
const arrays = { float32: Uint32Array, float16: Uint16Array, bfloat16: Uint16Array, float8_e4m3: Uint8Array }

/** `values` rounded to `dtype`, as a checkpoint stores them. */
export function stored(dtype: RoundedDType, shape: readonly number[], values: ArrayLike<number>): StoredTensor {
  const bits = new arrays[dtype](values.length)
  for (let i = 0; i < values.length; ++i) bits[i] = bitsOf(dtype, roundTo(dtype, values[i]!))
  return { dtype: names[dtype], shape, bytes: new Uint8Array(bits.buffer) }
}

export function randomStored(random: Random, dtype: RoundedDType, shape: readonly number[]): StoredTensor {
  return stored(dtype, shape, random.normals(shape.reduce((size, dim) => size * dim, 1)))
}

/** A valid file: tensors one after the other, header padded to 8 bytes as the format's own writer does. */
export function safetensorsFile(tensors: Readonly<Record<string, StoredTensor>>, metadata?: Readonly<Record<string, string>>): Buffer {
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata }
  let end = 0
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, (end += bytes.length)] }
  }
  const text = JSON.stringify(header)
  const padded = text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8)
  return rawFile(padded, Buffer.concat(Object.values(tensors).map(({ bytes }) => bytes)))
}

/** Any header before any data, with the header's length or a claim of another one. */
export function rawFile(header: string | Uint8Array, data: Uint8Array = Buffer.alloc(0), claimedLength?: bigint): Buffer {
  const text = Buffer.from(header)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(claimedLength ?? BigInt(text.length))
  return Buffer.concat([length, text, data])
}

/** A folder of its own for a test file; returns a function that writes a file there and gives its path. Call at the top level of the test file. */
export function temporaryFiles(): (name: string, bytes: Uint8Array) => string {
  const folder = mkdtempSync(join(tmpdir(), 'weights-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return (name, bytes) => {
    const path = join(folder, name)
    writeFileSync(path, bytes)
    return path
  }
}

/** What a promise rejects with; throws when it resolves. */
export async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error as Error
  }
  throw new Error(`expected the promise to reject, it resolved to ${String(value)}`)
}
