import { FileError } from '../errors'
import { shapeText, type Shape } from '../tensor/shape'
import { HeaderReader, quoteName } from './header-reader'
import { elementBits, knownDTypes } from './safetensors-dtype'

/** The file begins with the length of the header: 64 bits, little endian. */
export const lengthBytes = 8
/** The limit of the format's own implementation. */
const maxHeaderBytes = 100_000_000
/** Far more than any tensor has; the bound keeps one hostile shape from filling the memory. */
const maxRank = 64

/** One tensor of the file. `begin` and `end` count bytes from the end of the header. */
export interface TensorEntry {
  readonly dtype: string
  readonly shape: Shape
  readonly begin: number
  readonly end: number
}

/** Bytes of the JSON header, from the first 8 bytes of a file of `fileBytes`. */
export function headerLength(path: string, first: Uint8Array, fileBytes: number): number {
  const length = new DataView(first.buffer, first.byteOffset, lengthBytes).getBigUint64(0, true)
  const max = Math.min(maxHeaderBytes, fileBytes - lengthBytes)
  if (length < 2n || length > BigInt(max)) {
    throw new FileError(path, `header length: expected 2 to ${max} bytes in a file of ${fileBytes} bytes, received ${length}`)
  }
  return Number(length)
}

/**
 * The tensors that a safetensors header lists, in its order. Everything that the format asks for is checked here: fields and types,
 * shapes against byte ranges, and that the ranges cover the `dataBytes` after the header without holes and overlaps.
 * @throws FileError naming the tensor and field, what was expected and what was found.
 */
export function parseHeader(path: string, header: Uint8Array, dataBytes: number): ReadonlyMap<string, TensorEntry> {
  const refuse = (problem: string): never => {
    throw new FileError(path, problem)
  }
  if (header[0] !== 0x7b) refuse(`header: expected '{' as its first byte, received 0x${(header[0] ?? 0).toString(16).padStart(2, '0')}`)
  const reader = new HeaderReader(decodeUtf8(header, refuse), refuse)
  const entries = new Map<string, TensorEntry>()
  reader.object('header', (name) => {
    if (name === '__metadata__') reader.object('__metadata__', (key) => void reader.string(`a string for __metadata__ ${quoteName(key)}`))
    else entries.set(name, readEntry(reader, quoteName(name), refuse))
  })
  reader.end()
  checkCoverage(entries, dataBytes, refuse)
  return entries
}

function decodeUtf8(bytes: Uint8Array, refuse: (problem: string) => never): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return refuse('header: expected UTF-8 text, received bytes that are not')
  }
}

function readEntry(reader: HeaderReader, name: string, refuse: (problem: string) => never): TensorEntry {
  let dtype: string | undefined
  let shape: number[] | undefined
  let range: number[] | undefined
  reader.object(name, (field) => {
    if (field === 'dtype') dtype = reader.string(`a string for dtype of ${name}`)
    else if (field === 'shape') shape = reader.integers(`shape of ${name}`, maxRank)
    else if (field === 'data_offsets') range = reader.integers(`data_offsets of ${name}`, 2)
    // A field of a later format could change what the bytes mean: refusing is safer than reading them wrongly.
    else refuse(`${name}: expected the fields dtype, shape and data_offsets, received ${quoteName(field)}`)
  })
  if (dtype === undefined) return refuse(`${name}: expected a dtype, received none`)
  if (shape === undefined) return refuse(`${name}: expected a shape, received none`)
  if (range === undefined) return refuse(`${name}: expected data_offsets, received none`)
  const [begin, end] = range
  if (begin === undefined || end === undefined || end < begin) {
    return refuse(`data_offsets of ${name}: expected [begin, end] with begin <= end, received ${shapeText(range)}`)
  }
  const bits = elementBits(dtype) ?? refuse(`dtype of ${name}: expected one of ${knownDTypes}, received ${quoteName(dtype)}`)
  const bytes = byteLength(shape, bits)
  const layout = `${dtype} ${shapeText(shape)}`
  if (bytes === undefined) return refuse(`shape of ${name}: expected whole bytes and fewer than 2^53 of them, received ${layout}`)
  if (end - begin !== bytes) refuse(`data_offsets of ${name}: expected ${bytes} bytes for ${layout}, received ${end - begin} bytes`)
  return { dtype, shape: Object.freeze(shape), begin, end }
}

/** undefined where the product of the dims leaves the exact integers, or 4- and 6-bit elements do not fill whole bytes. */
function byteLength(shape: Shape, bits: number): number | undefined {
  let elements = 1
  for (const dim of shape) {
    elements *= dim
    if (!Number.isSafeInteger(elements)) return undefined
  }
  const bytes = elements * (bits / 8)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

function checkCoverage(entries: ReadonlyMap<string, TensorEntry>, dataBytes: number, refuse: (problem: string) => never): void {
  let covered = 0
  for (const [name, { begin, end }] of [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== covered) {
      const relation = begin < covered ? 'they overlap' : 'they leave a hole'
      const expected = `to begin at ${covered} where the tensor before ends`
      refuse(`data_offsets of ${quoteName(name)}: expected ${expected}, received ${begin}: ${relation}`)
    }
    covered = end
  }
  if (covered !== dataBytes) refuse(`data: expected the ${covered} bytes that the header lists, received ${dataBytes} bytes`)
}
