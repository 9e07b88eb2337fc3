import { execFileSync } from 'node:child_process'
import { truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { AttentionError, FileError } from '../../lib/errors'
import { SafetensorsFile } from '../../lib/weights/safetensors-file'
import { followHandles } from '../support/file-handles'
import { rawFile, rejectionOf, temporaryFiles } from '../support/safetensors'

const write = temporaryFiles()
afterEach(() => jest.restoreAllMocks())

/** A header with one tensor `a`, F32 [2] in 8 bytes, some of whose fields are replaced by JSON text. */
function one(fields: Readonly<Record<string, string>> = {}): string {
  const all = { dtype: '"F32"', shape: '[2]', data_offsets: '[0,8]', ...fields }
  return `{"a":{${Object.entries(all).map(([key, value]) => `"${key}":${value}`).join(',')}}}`
}
const data = Buffer.alloc(8)
const known = 'BOOL, F4, F6_E2M3, F6_E3M2, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64'
const two = (first: string, second: string): string =>
  `{"a":{"dtype":"U8","shape":[4],"data_offsets":${first}},"b":{"dtype":"U8","shape":[4],"data_offsets":${second}}}`

/** What is wrong, the file, and what the message says after the path. */
const cases: readonly (readonly [string, Buffer, string])[] = [
  ['empty file', Buffer.alloc(0), 'expected a safetensors file of at least 8 bytes, received 0 bytes'],
  ['7 bytes', Buffer.alloc(7), 'expected a safetensors file of at least 8 bytes, received 7 bytes'],
  ['header length 0', rawFile('{}', undefined, 0n), 'header length: expected 2 to 2 bytes in a file of 10 bytes, received 0'],
  ['no room for a header', Buffer.alloc(8), 'header length: expected 2 to 0 bytes in a file of 8 bytes, received 0'],
  ['header longer than the file', rawFile('{}', undefined, 3n), 'header length: expected 2 to 2 bytes in a file of 10 bytes, received 3'],
  ['header length 2^64 - 1', rawFile('{}', undefined, 2n ** 64n - 1n), 'header length: expected 2 to 2 bytes in a file of 10 bytes, received 18446744073709551615'],
  ['header length 2^63', rawFile('{}', undefined, 2n ** 63n), 'header length: expected 2 to 2 bytes in a file of 10 bytes, received 9223372036854775808'],
  ['zeros', Buffer.alloc(64), 'header length: expected 2 to 56 bytes in a file of 64 bytes, received 0'],
  ['not an object', rawFile('[1, 2]'), "header: expected '{' as its first byte, received 0x5b"],
  ['byte order mark', rawFile('\ufeff{}'), "header: expected '{' as its first byte, received 0xef"],
  ['white space first', rawFile(' {}'), "header: expected '{' as its first byte, received 0x20"],
  ['text of a pickle', rawFile('\u0080\u0004'), "header: expected '{' as its first byte, received 0xc2"],
  ['not UTF-8', rawFile(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), 'header: expected UTF-8 text, received bytes that are not'],
  ['header cut off', rawFile('{"a":{"dtype":"F3'), 'header: expected a closing quote for a string for dtype of \'a\', received the end of the header'],
  ['only an opening brace', rawFile('{ '), 'header: expected a name in header, received the end of the header'],
  ['comma at the end', rawFile('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],}}', data), "header: expected a name in 'a', received '}' at character 53"],
  ['comma at the end of the header', rawFile(`${one().slice(0, -1)},}`, data), "header: expected a name in header, received '}' at character 54"],
  ['missing colon', rawFile('{"a"{}}'), "header: expected ':' after 'a', received '{' at character 4"],
  ['missing comma', rawFile('{"__metadata__":{}"a":{}}'), "header: expected ',' or '}' in header, received '\"' at character 18"],
  ['single quotes', rawFile("{'a':{}}"), "header: expected a name in header, received ''' at character 1"],
  ['text after the header', rawFile('{} x'), "header: expected its end after the object, received 'x' at character 3"],
  ['second object', rawFile('{}{}'), "header: expected its end after the object, received '{' at character 2"],
  ['zero byte as padding', rawFile('{}\0'), "header: expected its end after the object, received '\\u0000' at character 2"],
  ['bad escape in a name', rawFile('{"\\x":{}}'), 'header: expected a name in header as a JSON string, received an invalid escape or control character at character 1'],
  ['control character in a name', rawFile('{"\n":{}}'), 'header: expected a name in header as a JSON string, received an invalid escape or control character at character 1'],
  ['escape at the end', rawFile('{"\\'), 'header: expected a closing quote for a name in header, received the end of the header'],
  ['tensor twice', rawFile(`${one().slice(0, -1)},${one().slice(1)}`, data), "header: expected every name once, received 'a' twice"],
  ['tensor twice, once escaped', rawFile(`${one().slice(0, -1)},${one().slice(1).replace('"a"', '"\\u0061"')}`, data), "header: expected every name once, received 'a' twice"],
  ['field twice', rawFile(one({ dtype: '"F32","dtype":"F32"' }), data), "'a': expected every name once, received 'dtype' twice"],
  ['metadata twice', rawFile('{"__metadata__":{},"__metadata__":{}}'), "header: expected every name once, received '__metadata__' twice"],
  ['metadata key twice', rawFile('{"__metadata__":{"k":"1","k":"2"}}'), "__metadata__: expected every name once, received 'k' twice"],
  ['metadata not an object', rawFile('{"__metadata__":"x"}'), "header: expected an object for __metadata__, received '\"' at character 16"],
  ['metadata null', rawFile('{"__metadata__":null}'), "header: expected an object for __metadata__, received 'n' at character 16"],
  ['metadata value a number', rawFile('{"__metadata__":{"k":1}}'), "header: expected a string for __metadata__ 'k', received '1' at character 21"],
  ['metadata nested', rawFile('{"__metadata__":{"k":{}}}'), "header: expected a string for __metadata__ 'k', received '{' at character 21"],
  ['tensor __proto__', rawFile('{"__proto__":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', data), "header: expected names of tensors and fields, received '__proto__'"],
  ['field __proto__', rawFile(one({ __proto__x: '1' }).replace('__proto__x', '__proto__'), data), "'a': expected names of tensors and fields, received '__proto__'"],
  ['metadata __proto__', rawFile('{"__metadata__":{"__proto__":"x"}}'), "__metadata__: expected names of tensors and fields, received '__proto__'"],
  ['field constructor', rawFile(one({ constructor: '{}' }), data), "'a': expected the fields dtype, shape and data_offsets, received 'constructor'"],
  ['unknown field', rawFile(one({ strides: '[1]' }), data), "'a': expected the fields dtype, shape and data_offsets, received 'strides'"],
  ['tensor null', rawFile('{"a":null}'), "header: expected an object for 'a', received 'n' at character 5"],
  ['tensor an array', rawFile('{"a":[]}'), "header: expected an object for 'a', received '[' at character 5"],
  ['no dtype', rawFile('{"a":{"shape":[2],"data_offsets":[0,8]}}', data), "'a': expected a dtype, received none"],
  ['no shape', rawFile('{"a":{"dtype":"F32","data_offsets":[0,8]}}', data), "'a': expected a shape, received none"],
  ['no data_offsets', rawFile('{"a":{"dtype":"F32","shape":[2]}}', data), "'a': expected data_offsets, received none"],
  ['dtype a number', rawFile(one({ dtype: '32' }), data), "header: expected a string for dtype of 'a', received '3' at character 14"],
  ['dtype unknown', rawFile(one({ dtype: '"F33"' }), data), `dtype of 'a': expected one of ${known}, received 'F33'`],
  ['dtype in lower case', rawFile(one({ dtype: '"f32"' }), data), `dtype of 'a': expected one of ${known}, received 'f32'`],
  ['dtype toString', rawFile(one({ dtype: '"toString"' }), data), `dtype of 'a': expected one of ${known}, received 'toString'`],
  ['shape a number', rawFile(one({ shape: '2' }), data), "header: expected an array for shape of 'a', received '2' at character 28"],
  ['shape negative', rawFile(one({ shape: '[-2]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received -2"],
  ['shape minus zero', rawFile(one({ shape: '[-0]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received -0"],
  ['shape fractional', rawFile(one({ shape: '[2.5]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 2.5"],
  ['shape with exponent', rawFile(one({ shape: '[2e0]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 2e0"],
  ['shape 1e999', rawFile(one({ shape: '[1e999]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 1e999"],
  ['shape with a leading zero', rawFile(one({ shape: '[02]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 02"],
  ['shape 2^53', rawFile(one({ shape: '[9007199254740992]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 9007199254740992"],
  ['shape of many digits', rawFile(one({ shape: `[${'9'.repeat(1000)}]` }), data), `shape of 'a': expected integers from 0 to 2^53 - 1, received ${'9'.repeat(40)}`],
  ['shape of strings', rawFile(one({ shape: '["2"]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received '\"' at character 29"],
  ['shape null', rawFile(one({ shape: '[null]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 'n' at character 29"],
  ['shape NaN', rawFile(one({ shape: '[NaN]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received 'N' at character 29"],
  ['shape nested', rawFile(one({ shape: '[[2]]' }), data), "shape of 'a': expected integers from 0 to 2^53 - 1, received '[' at character 29"],
  ['shape of 65 dims', rawFile(one({ shape: `[${'1,'.repeat(64)}2]` }), data), "shape of 'a': expected at most 64 integers, received more"],
  ['shape product beyond 2^53', rawFile(one({ shape: '[4294967296,4294967296]' }), data),
    "shape of 'a': expected whole bytes and fewer than 2^53 of them, received F32 [4294967296, 4294967296]"],
  ['shape product that wraps to 8 bytes', rawFile(one({ shape: '[4294967296,2147483648,2]' }), data),
    "shape of 'a': expected whole bytes and fewer than 2^53 of them, received F32 [4294967296, 2147483648, 2]"],
  ['half a byte', rawFile(one({ dtype: '"F4"', shape: '[15]' }), data), "shape of 'a': expected whole bytes and fewer than 2^53 of them, received F4 [15]"],
  ['shape larger than its bytes', rawFile(one({ shape: '[3]' }), data), "data_offsets of 'a': expected 12 bytes for F32 [3], received 8 bytes"],
  ['shape smaller than its bytes', rawFile(one({ shape: '[1]' }), data), "data_offsets of 'a': expected 4 bytes for F32 [1], received 8 bytes"],
  ['shape with a zero but bytes', rawFile(one({ shape: '[2,0]' }), data), "data_offsets of 'a': expected 0 bytes for F32 [2, 0], received 8 bytes"],
  ['offsets negative', rawFile(one({ data_offsets: '[-8,0]' }), data), "data_offsets of 'a': expected integers from 0 to 2^53 - 1, received -8"],
  ['offsets fractional', rawFile(one({ data_offsets: '[0.5,8.5]' }), data), "data_offsets of 'a': expected integers from 0 to 2^53 - 1, received 0.5"],
  ['offsets reversed', rawFile(one({ data_offsets: '[8,0]' }), data), "data_offsets of 'a': expected [begin, end] with begin <= end, received [8, 0]"],
  ['offsets of one number', rawFile(one({ data_offsets: '[8]' }), data), "data_offsets of 'a': expected [begin, end] with begin <= end, received [8]"],
  ['offsets empty', rawFile(one({ data_offsets: '[]' }), data), "data_offsets of 'a': expected [begin, end] with begin <= end, received []"],
  ['offsets of three numbers', rawFile(one({ data_offsets: '[0,8,8]' }), data), "data_offsets of 'a': expected at most 2 integers, received more"],
  ['offsets an object', rawFile(one({ data_offsets: '{"0":0,"1":8}' }), data), "header: expected an array for data_offsets of 'a', received '{' at character 47"],
  ['hole at the start', rawFile(one({ data_offsets: '[8,16]' }), Buffer.alloc(16)),
    "data_offsets of 'a': expected to begin at 0 where the tensor before ends, received 8: they leave a hole"],
  ['hole between', rawFile(two('[0,4]', '[5,9]'), Buffer.alloc(9)),
    "data_offsets of 'b': expected to begin at 4 where the tensor before ends, received 5: they leave a hole"],
  ['overlap', rawFile(two('[0,4]', '[3,7]'), Buffer.alloc(7)),
    "data_offsets of 'b': expected to begin at 4 where the tensor before ends, received 3: they overlap"],
  ['shared bytes', rawFile(two('[0,4]', '[0,4]'), Buffer.alloc(4)),
    "data_offsets of 'b': expected to begin at 4 where the tensor before ends, received 0: they overlap"],
  ['out of the file', rawFile(two('[0,4]', '[4,8]'), Buffer.alloc(7)), 'data: expected the 8 bytes that the header lists, received 7 bytes'],
  ['bytes after the last tensor', rawFile(one(), Buffer.alloc(9)), 'data: expected the 8 bytes that the header lists, received 9 bytes'],
  ['bytes but no tensor', rawFile('{}', Buffer.alloc(1)), 'data: expected the 0 bytes that the header lists, received 1 bytes'],
  ['a tensor far outside', rawFile(one({ shape: '[2251799813685247]', data_offsets: '[0,9007199254740988]' }), data),
    'data: expected the 9007199254740988 bytes that the header lists, received 8 bytes'],
  ['a name of many characters in a message', rawFile(`{"${'n'.repeat(5000)}":[]}`), `header: expected an object for '${'n'.repeat(100)}…', received '[' at character 5004`],
  ['a line break in a message', rawFile('{"a\\nb":[]}'), "header: expected an object for 'a\\u000ab', received '[' at character 8"],
]

test.each(cases)('%s is refused', async (name, bytes, problem) => {
  const handles = followHandles()
  const path = write('hostile.safetensors', bytes)
  const error = await rejectionOf(SafetensorsFile.open(path))
  expect(error.message).toBe(`${path}: ${problem}`)
  expect(error).toBeInstanceOf(FileError)
  expect(error).toBeInstanceOf(AttentionError)
  expect(error).toMatchObject({ code: 'INVALID_FILE', name: 'FileError', path })
  expect(handles.openCount()).toBe(0)
})

test.each([
  ['arrays', '['],
  ['objects', '{"a":'],
])('deep nesting of %s takes neither stack nor memory', async (_, opening) => {
  const path = write('deep.safetensors', rawFile(`{"a":{"shape":${opening.repeat(8_000_000 / opening.length)}`))
  const before = process.memoryUsage().heapUsed
  const error = await rejectionOf(SafetensorsFile.open(path))
  expect(error).toMatchObject({ code: 'INVALID_FILE' })
  // The text of the header itself, and room for what the collector has not got to; a parsed tree would take ten times this.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64e6)
})

test('a header beyond 100 MB is refused before it is read', async () => {
  const path = write('huge.safetensors', rawFile('{', undefined, 100_000_001n))
  truncateSync(path, 200_000_000)
  const handles = followHandles()
  const error = await rejectionOf(SafetensorsFile.open(path))
  expect(error.message).toBe(`${path}: header length: expected 2 to 100000000 bytes in a file of 200000000 bytes, received 100000001`)
  expect(handles.reads).toEqual([{ length: 8, position: 0 }])
})

test('names of the prototype are plain names', async () => {
  const tensor = (begin: number): string => `{"dtype":"U8","shape":[1],"data_offsets":[${begin},${begin + 1}]}`
  const path = write('names.safetensors', rawFile(`{"constructor":${tensor(0)},"toString":${tensor(1)}}`, Buffer.alloc(2)))
  const file = await SafetensorsFile.open(path)
  expect(file.names).toEqual(['constructor', 'toString'])
  expect(file.has('hasOwnProperty')).toBe(false)
  expect(() => file.info('hasOwnProperty')).toThrow(`name: expected one of the 2 tensors of ${path}, received 'hasOwnProperty'`)
  file.close()
})

describe('what is not a file', () => {
  test('a missing file', async () => {
    const path = join(tmpdir(), 'there-is-no-such-folder', 'model.safetensors')
    const error = await rejectionOf(SafetensorsFile.open(path))
    expect(error.message).toBe(`${path}: expected a readable file, received ENOENT: no such file or directory`)
    expect(error).toMatchObject({ code: 'INVALID_FILE', path, cause: { code: 'ENOENT' } })
  })

  test('a folder', async () => {
    const handles = followHandles()
    const path = dirname(write('x', Buffer.alloc(0)))
    const error = await rejectionOf(SafetensorsFile.open(path))
    expect(error.message).toBe(`${path}: expected a regular file, received a directory`)
    expect(error).toMatchObject({ code: 'INVALID_FILE' })
    expect(handles.openCount()).toBe(0)
  })

  // A writer never comes: a blocking open would hang here. Windows has no such files.
  if (process.platform !== 'win32') {
    test('a pipe', async () => {
      const path = join(dirname(write('x', Buffer.alloc(0))), 'pipe')
      execFileSync('mkfifo', [path])
      const error = await rejectionOf(SafetensorsFile.open(path))
      expect(error.message).toBe(`${path}: expected a regular file, received a device, pipe or socket`)
    })
  }

  test.each([
    [undefined, 'undefined'], [null, 'null'], [7, '7'], ['', "''"], ['a\0b', "'a\0b'"], [{}, 'an object'],
  ])('the path %p', async (path, received) => {
    const error = await rejectionOf(SafetensorsFile.open(path as string))
    expect(error.message).toBe(`path: expected the path of a safetensors file, received ${received}`)
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', name: 'ArgumentError' })
  })
})
