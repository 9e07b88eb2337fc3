import { AttentionError } from '../../lib/errors'
import { SafetensorsFile } from '../../lib/weights/safetensors-file'
import { headerLength, parseHeader } from '../../lib/weights/safetensors-header'
import { followHandles } from '../support/file-handles'
import { Random } from '../support/random'
import { randomStored, safetensorsFile, temporaryFiles } from '../support/safetensors'

const write = temporaryFiles()
afterEach(() => jest.restoreAllMocks())

const seed = new Random(1)
const valid = safetensorsFile({
  'model.layers.0.self_attn.q_proj.weight': randomStored(seed, 'bfloat16', [4, 3]),
  'model.layers.0.self_attn.q_proj.bias': randomStored(seed, 'float32', [4]),
  scalar: randomStored(seed, 'float16', []),
  empty: randomStored(seed, 'float8_e4m3', [0, 7]),
}, { format: 'pt' })
const headerEnd = 8 + Number(valid.readBigUInt64LE())
const pieces = [
  '{', '}', '[', ']', ',', ':', '"', '\\', ' ', '0', '-1', '1e9', '0.5', '9007199254740993', 'null', 'true', '"F32"', '"shape":', '"__proto__":{},', '"__metadata__":{}',
  '\u0000', '\ud83d\ude00', '"\\u0000"', '[[[[[[[[', '{"a":',
]

/** One to four changes: a byte replaced, removed or put in, a piece of JSON put in, a stretch doubled, an end cut off. */
function mutate(random: Random, bytes: Buffer): Buffer {
  let out = bytes
  for (let count = random.integer(1, 4); count > 0; --count) {
    const at = random.integer(0, out.length)
    const end = Math.min(out.length, at + random.integer(0, 40))
    const middle = [
      Buffer.of(random.integer(0, 255)), Buffer.alloc(0), Buffer.from(pieces[random.integer(0, pieces.length - 1)]!), Buffer.concat([out.subarray(at, end), out.subarray(at, end)]),
    ][random.integer(0, 3)]!
    out = random.integer(0, 9) === 0 ? out.subarray(0, at) : Buffer.concat([out.subarray(0, at), middle, out.subarray(random.integer(0, 1) === 0 ? at : end)])
  }
  return out
}

/** True: accepted, and the entries tile the data just as the format asks. False: refused with FileError. Anything else fails the test. */
function survives(header: Buffer, dataBytes: number): boolean {
  try {
    const entries = [...parseHeader('fuzz', header, dataBytes).values()].sort((a, b) => a.begin - b.begin || a.end - b.end)
    let covered = 0
    for (const { begin, end } of entries) {
      expect(begin).toBe(covered)
      covered = end
    }
    expect(covered).toBe(dataBytes)
    return true
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_FILE', name: 'FileError' })
    return false
  }
}

test('8000 mutated headers: each is valid or refused', () => {
  const random = new Random(2)
  let accepted = 0
  for (let i = 0; i < 8000; ++i) {
    if (survives(mutate(random, valid.subarray(8, headerEnd)), valid.length - headerEnd)) accepted += 1
  }
  // Harmless changes (in a name, in the padding) must still be accepted: otherwise the cases would never get past the first check.
  expect(accepted).toBeGreaterThan(100)
  expect(accepted).toBeLessThan(4000)
})

test('4000 headers of random bytes are refused', () => {
  const random = new Random(3)
  for (let i = 0; i < 4000; ++i) {
    const bytes = Buffer.from(Array.from({ length: random.integer(2, 200) }, () => random.integer(0, 255)))
    if (i % 2 === 0) bytes[0] = 0x7b
    expect(survives(bytes, 0)).toBe(false)
  }
})

test('1000 random lengths give a length within the file or FileError', () => {
  const random = new Random(4)
  for (let i = 0; i < 1000; ++i) {
    const first = Buffer.from(Array.from({ length: 8 }, (_, byte) => (byte < random.integer(0, 8) ? random.integer(0, 255) : 0)))
    const fileBytes = random.integer(8, 70_000)
    try {
      expect(headerLength('fuzz', first, fileBytes)).toBeLessThanOrEqual(fileBytes - 8)
    } catch (error) {
      expect(error).toMatchObject({ code: 'INVALID_FILE' })
    }
  }
})

test('1000 mutated files: only AttentionErrors, and no handle stays open', async () => {
  const random = new Random(5)
  const handles = followHandles()
  for (let i = 0; i < 1000; ++i) {
    const path = write('fuzz.safetensors', mutate(random, valid))
    try {
      const file = await SafetensorsFile.open(path)
      try {
        for (const name of file.names) await file.readBits(name)
      } finally {
        file.close()
      }
    } catch (error) {
      expect(error).toBeInstanceOf(AttentionError)
    }
  }
  expect(await handles.settledCount()).toBe(0)
})
