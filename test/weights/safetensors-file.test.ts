import { appendFileSync, openSync, closeSync, statSync, truncateSync, utimesSync, writeSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { SafetensorsFile, type FloatDType, type Tensor } from '../../lib/index'
import { valueOf } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { followHandles } from '../support/file-handles'
import { Random } from '../support/random'
import { randomStored, rawFile, rejectionOf, safetensorsFile, stored, temporaryFiles, type StoredTensor } from '../support/safetensors'

const write = temporaryFiles()
afterEach(() => jest.restoreAllMocks())

const names = { float32: 'F32', float16: 'F16', bfloat16: 'BF16', float8_e4m3: 'F8_E4M3' } as const
const dtypes = Object.keys(names) as readonly FloatDType[]
const random = new Random(11)

async function bytesOf(tensor: Tensor): Promise<Uint8Array> {
  const bits = await tensor.readBits()
  return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength)
}

describe.each(testDevices)('on %s', (device) => {
  test.each(dtypes)('%s keeps its bits', async (dtype) => {
    const tensors = { odd: randomStored(random, dtype, [3]), matrix: randomStored(random, dtype, [5, 2, 3]), one: randomStored(random, dtype, [1]) }
    using file = await SafetensorsFile.open(write('dtype.safetensors', safetensorsFile(tensors)))
    for (const [name, { shape, bytes }] of Object.entries(tensors)) {
      using tensor = await file.load(name, { device })
      expect(tensor).toMatchObject({ dtype, shape })
      expect(tensor.device).toBe((await file.load(name, { device })).device)
      expect(await bytesOf(tensor)).toEqual(new Uint8Array(bytes))
      expect(file.info(name)).toEqual({ dtype: names[dtype], shape })
    }
  })

  test.each([
    ['float16', 65536, 2], ['bfloat16', 65536, 2], ['float8_e4m3', 256, 1],
  ] as const)('every code of %s widens to its number', async (dtype, codes, width) => {
    const bytes = Buffer.alloc(codes * width)
    for (let code = 0; code < codes; ++code) bytes.writeUIntLE(code, code * width, width)
    const tensor: StoredTensor = { dtype: names[dtype], shape: [codes], bytes }
    using file = await SafetensorsFile.open(write('codes.safetensors', safetensorsFile({ tensor })))
    using loaded = await file.load('tensor', { device, dtype: 'float32' })
    expect(loaded.dtype).toBe('float32')
    expectSameBits(await loaded.read(), Float32Array.from({ length: codes }, (_, code) => valueOf(dtype, code)), dtype)
  })

  test('converts to the dtype that is asked for', async () => {
    const path = write('cast.safetensors', safetensorsFile({ x: stored('float32', [4], [1, -2.5, 0.1, 1e5]) }))
    using file = await SafetensorsFile.open(path)
    using loaded = await file.load('x', { device, dtype: 'bfloat16' })
    expect(await bytesOf(loaded)).toEqual(new Uint8Array(stored('bfloat16', [4], [1, -2.5, 0.1, 1e5]).bytes))
  })
})

describe('other dtypes', () => {
  const bits = { BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E8M0: 8, I16: 16, U16: 16, I32: 32, U32: 32, F64: 64, I64: 64, U64: 64, C64: 64, F4: 4, F6_E2M3: 6, F6_E3M2: 6 }

  test.each(Object.entries(bits))('%s is listed, and refused by load', async (dtype, width) => {
    const x = { dtype, shape: [2, 4], bytes: Buffer.alloc(width) }
    using file = await SafetensorsFile.open(write('other.safetensors', safetensorsFile({ x })))
    expect(file.info('x')).toEqual({ dtype, shape: [2, 4] })
    const error = await rejectionOf(file.load('x'))
    expect(error.message).toBe(`x: expected dtype F32, F16, BF16 or F8_E4M3, received ${dtype}`)
    expect(error).toMatchObject({ name: 'ArgumentError', code: 'UNSUPPORTED' })
  })
})

test('names come in the order of the header, metadata is no tensor, padding is no text', async () => {
  const tensors = { z: randomStored(random, 'float32', [2]), a: randomStored(random, 'float16', [3]), 'ключ ✓': randomStored(random, 'float32', [1]) }
  using file = await SafetensorsFile.open(write('names.safetensors', safetensorsFile(tensors, { format: 'pt', note: 'has "quotes" and \\' })))
  expect(file.names).toEqual(['z', 'a', 'ключ ✓'])
  expect(Object.isFrozen(file.names)).toBe(true)
  expect(Object.isFrozen(file.info('z').shape)).toBe(true)
  expect(file.has('__metadata__')).toBe(false)
})

test('data may lie in another order than the header, and start at any byte', async () => {
  const header = '{"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}, "a" : {"data_offsets":[0,1],"shape":[1],"dtype":"F8_E4M3"}}\n\t\r '
  using file = await SafetensorsFile.open(write('order.safetensors', rawFile(header, Buffer.from([0x38, 0, 0, 0xc0, 0x3f]))))
  using a = await file.load('a', { dtype: 'float32' })
  using b = await file.load('b')
  expect([...(await a.read()), ...(await b.read())]).toEqual([1, 1.5])
})

test('a file without tensors is a file', async () => {
  using file = await SafetensorsFile.open(write('none.safetensors', rawFile('{}      ')))
  expect(file.names).toEqual([])
})

describe('reads only what it must', () => {
  test('open reads the header, load the bytes of its tensor', async () => {
    const tensors = { a: randomStored(random, 'float32', [1000]), b: randomStored(random, 'bfloat16', [7]), c: randomStored(random, 'float32', [1000]) }
    const bytes = safetensorsFile(tensors)
    const handles = followHandles()
    using file = await SafetensorsFile.open(write('lazy.safetensors', bytes))
    const headerBytes = Number(bytes.readBigUInt64LE())
    expect(handles.reads.splice(0)).toEqual([{ length: 8, position: 0 }, { length: headerBytes, position: 8 }])
    const loaded = await file.load('b')
    loaded.dispose()
    expect(handles.reads).toEqual([{ length: 14, position: 8 + headerBytes + 4000 }])
  })

  test('a tensor beyond 4 GiB', async () => {
    const hole = 5 * 2 ** 30
    const header = `{"big":{"dtype":"U8","shape":[${hole}],"data_offsets":[0,${hole}]},"x":{"dtype":"F32","shape":[1],"data_offsets":[${hole},${hole + 4}]}}`
    const path = write('sparse.safetensors', rawFile(header))
    const start = statSync(path).size + hole
    const fd = openSync(path, 'r+')
    writeSync(fd, Buffer.from(Float32Array.of(42).buffer), 0, 4, start)
    closeSync(fd)
    using file = await SafetensorsFile.open(path)
    using x = await file.load('x')
    expect(await x.read()).toEqual(Float32Array.of(42))
  })

  test('a large tensor arrives in bounded reads', async () => {
    const values = Float32Array.from({ length: 12_000_000 }, (_, i) => i)
    const handles = followHandles()
    using file = await SafetensorsFile.open(write('large.safetensors', safetensorsFile({ x: { dtype: 'F32', shape: [values.length], bytes: new Uint8Array(values.buffer) } })))
    handles.reads.splice(0)
    const { bits } = await file.readBits('x')
    expect(Buffer.compare(Buffer.from(bits.buffer), Buffer.from(values.buffer))).toBe(0)
    expect(handles.reads.map(({ length }) => length)).toEqual([32 * 2 ** 20, 48_000_000 - 32 * 2 ** 20])
  })
})

describe('lifetime', () => {
  const x = randomStored(random, 'float32', [64])

  test('after close, load rejects and info still answers', async () => {
    const handles = followHandles()
    const file = await SafetensorsFile.open(write('closed.safetensors', safetensorsFile({ x })))
    file.close()
    file.close()
    file[Symbol.dispose]()
    const error = await rejectionOf(file.load('x'))
    expect(error.message).toBe('file: expected an open SafetensorsFile, received a closed one')
    expect(error).toMatchObject({ name: 'ArgumentError', code: 'DISPOSED' })
    expect(file.info('x')).toEqual({ dtype: 'F32', shape: [64] })
    expect(await handles.settledCount()).toBe(0)
  })

  test('loads that run when the file is closed finish, and then give the handle back', async () => {
    const bytes = Buffer.alloc(40 * 2 ** 20, 1)
    const handles = followHandles()
    const file = await SafetensorsFile.open(write('running.safetensors', safetensorsFile({ big: { dtype: 'F8_E4M3', shape: [bytes.length], bytes }, x })))
    const running = [file.readBits('big'), file.readBits('x'), file.readBits('big')]
    file.close()
    const late = rejectionOf(file.readBits('x'))
    const [big, small, again] = await Promise.all(running)
    expect(Buffer.compare(Buffer.from(big!.bits.buffer), bytes)).toBe(0)
    expect(Buffer.compare(Buffer.from(again!.bits.buffer), bytes)).toBe(0)
    expect(new Uint8Array(small!.bits.buffer)).toEqual(new Uint8Array(x.bytes))
    expect(await late).toMatchObject({ code: 'DISPOSED' })
    expect(await handles.settledCount()).toBe(0)
  })

  test('many loads at once', async () => {
    const tensors = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`t${i}`, randomStored(random, 'float32', [100 + i])]))
    using file = await SafetensorsFile.open(write('parallel.safetensors', safetensorsFile(tensors)))
    const loaded = await Promise.all(file.names.map((name) => file.load(name)))
    for (const [i, tensor] of loaded.entries()) {
      expect(await bytesOf(tensor)).toEqual(tensors[`t${i}`]!.bytes)
      tensor.dispose()
    }
  })

  test('a file that is dropped gives its handle back when it is collected', async () => {
    const handles = followHandles()
    const warnings: unknown[] = []
    const onWarning = (warning: unknown): void => void warnings.push(warning)
    process.on('warning', onWarning)
    await SafetensorsFile.open(write('dropped.safetensors', safetensorsFile({ x })))
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    for (let turn = 0; turn < 200 && handles.openCount() > 0; ++turn) {
      collect()
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    process.off('warning', onWarning)
    expect(handles.openCount()).toBe(0)
    expect(warnings).toEqual([])
  })
})

describe('a file that changes after it was opened', () => {
  const a = randomStored(random, 'float32', [4])
  const b = randomStored(random, 'float32', [4])
  const change = 'expected the file as it was opened, received one that was changed since'

  test.each([
    ['is cut off within the tensor', 'b', (path: string) => truncateSync(path, statSync(path).size - 4), undefined],
    ['is cut off behind the tensor', 'a', (path: string) => truncateSync(path, statSync(path).size - 4), change],
    ['is emptied', 'a', (path: string) => truncateSync(path, 0), undefined],
    ['grows', 'a', (path: string) => appendFileSync(path, 'x'), change],
    ['is written over', 'a', (path: string) => {
      const fd = openSync(path, 'r+')
      writeSync(fd, Buffer.from([1]), 0, 1, statSync(path).size - 32)
      closeSync(fd)
      // A clock tick may be longer than this test.
      utimesSync(path, new Date(), new Date(Date.now() + 5000))
    }, change],
  ] as const)('%s', async (_, name, alter, problem) => {
    const path = write('changed.safetensors', safetensorsFile({ a, b }))
    using file = await SafetensorsFile.open(path)
    const dataStart = statSync(path).size - 32
    alter(path)
    const error = await rejectionOf(file.load(name))
    const left = Math.max(0, statSync(path).size - dataStart - (name === 'b' ? 16 : 0))
    const position = dataStart + (name === 'b' ? 16 : 0)
    expect(error.message).toBe(`${path}: ${problem ?? `expected 16 bytes at ${position}, received ${left}: the file was truncated after it was opened`}`)
    expect(error).toMatchObject({ name: 'FileError', code: 'INVALID_FILE' })
  })
})

describe('bad arguments', () => {
  test.each([
    [['y'], "name: expected one of the 1 tensors of PATH, received 'y'", 'INVALID_ARGUMENT'],
    [['__proto__'], "name: expected one of the 1 tensors of PATH, received '__proto__'", 'INVALID_ARGUMENT'],
    [[3], 'name: expected one of the 1 tensors of PATH, received 3', 'INVALID_ARGUMENT'],
    [['x', null], 'options: expected an options object, received null', 'INVALID_ARGUMENT'],
    [['x', { type: 'float32' }], "options: expected options among device, dtype, received unknown option 'type'", 'INVALID_ARGUMENT'],
    [['x', { dtype: 'int32' }], "options.dtype: expected a float dtype, received 'int32'", 'INVALID_ARGUMENT'],
    [['x', { dtype: 'F32' }],
      "options.dtype: expected 'float32' or 'float16' or 'bfloat16' or 'float8_e4m3' or 'int32', received 'F32'", 'INVALID_ARGUMENT'],
  ])('load%j', async (args, message, code) => {
    const path = write('arguments.safetensors', safetensorsFile({ x: randomStored(random, 'float32', [2]) }))
    using file = await SafetensorsFile.open(path)
    const error = await rejectionOf(file.load(...(args as Parameters<typeof file.load>)))
    expect(error.message).toBe(message.replace('PATH', path))
    expect(error).toMatchObject({ name: 'ArgumentError', code })
  })

  test('a device that does not exist', async () => {
    const handles = followHandles()
    using file = await SafetensorsFile.open(write('device.safetensors', safetensorsFile({ x: randomStored(random, 'float32', [2]) })))
    handles.reads.splice(0)
    const error = await rejectionOf(file.load('x', { device: 'gpu' as 'cpu' }))
    expect(error).toMatchObject({ name: 'ArgumentError', message: "options.device: expected 'cpu', 'cuda' or 'cuda:<n>', received 'gpu'" })
    expect(handles.reads).toEqual([])
  })
})
