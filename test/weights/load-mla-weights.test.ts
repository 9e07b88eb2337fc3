import { devices, loadMlaWeights, SafetensorsFile, type FloatTensor, type MlaConfig, type MlaWeights } from '../../lib/index'
import { bitsOf, roundTo, valueOf } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { followHandles } from '../support/file-handles'
import { settledMemory } from '../support/memory'
import { Random } from '../support/random'
import { randomStored, rejectionOf, safetensorsFile, stored, temporaryFiles, type StoredTensor } from '../support/safetensors'

const write = temporaryFiles()
afterEach(() => jest.restoreAllMocks())

const random = new Random(31)
const config: MlaConfig = { hiddenSize: 10, numHeads: 3, qLoraRank: 7, kvLoraRank: 5, qkNopeHeadDim: 4, qkRopeHeadDim: 2, vHeadDim: 3, rope: { interleaved: true } }
const direct: MlaConfig = { ...config, qLoraRank: null }
type Tensors = Record<string, StoredTensor>
type Shapes = Readonly<Record<string, readonly number[]>>

const deepseek: Shapes = {
  'q_a_proj.weight': [7, 10], 'q_a_layernorm.weight': [7], 'q_b_proj.weight': [18, 7],
  'kv_a_proj_with_mqa.weight': [7, 10], 'kv_a_layernorm.weight': [5], 'kv_b_proj.weight': [21, 5], 'o_proj.weight': [10, 9],
}
const deepseekDirect: Shapes = {
  'q_proj.weight': [18, 10], 'kv_a_proj_with_mqa.weight': [7, 10], 'kv_a_layernorm.weight': [5], 'kv_b_proj.weight': [21, 5], 'o_proj.weight': [10, 9],
}
const separate: Shapes = {
  'compress_q_linear.weight': [7, 10], 'q_norm.weight': [7], 'decompress_q_nope.weight': [12, 7], 'decompress_q_rope.weight': [6, 7],
  'compress_kv_linear.weight': [5, 10], 'kv_norm.weight': [5], 'decompress_k_nope.weight': [12, 5], 'decompress_v_linear.weight': [9, 5],
  'k_rope_linear.weight': [2, 10], 'proj.weight': [10, 9],
}

function layer(shapes: Shapes, prefix = ''): Tensors {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, randomStored(random, 'bfloat16', shape)]))
}

function open(tensors: Tensors): Promise<SafetensorsFile> {
  return SafetensorsFile.open(write('layer.safetensors', safetensorsFile(tensors)))
}

async function bytesOf(tensor: FloatTensor | undefined): Promise<Uint8Array | undefined> {
  const bits = await tensor?.readBits()
  return bits === undefined ? undefined : new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength)
}

function dispose(weights: MlaWeights): void {
  for (const tensor of Object.values(weights) as FloatTensor[]) tensor.dispose()
}

/** The bytes of rows `begin` to `end` of a stored matrix. */
function rows({ shape, bytes }: StoredTensor, begin: number, end: number): Uint8Array {
  const rowBytes = bytes.length / shape[0]!
  return bytes.subarray(begin * rowBytes, end * rowBytes)
}

/** For each of three heads, rows of `first` and then of `second`. */
function perHead(first: StoredTensor, firstRows: number, second: StoredTensor, secondRows: number): Uint8Array {
  const heads = [0, 1, 2].flatMap((head) => [
    rows(first, head * firstRows, (head + 1) * firstRows), rows(second, head * secondRows, (head + 1) * secondRows),
  ])
  return new Uint8Array(Buffer.concat(heads))
}

describe.each(testDevices)('on %s', (device) => {
  test('deepseek: every weight keeps its bits', async () => {
    const prefix = 'model.layers.0.self_attn.'
    const tensors = layer(deepseek, prefix)
    using file = await open(tensors)
    const weights = await loadMlaWeights(file, prefix, { naming: 'deepseek', config, device })
    const names = { qA: 'q_a_proj', qANorm: 'q_a_layernorm', qB: 'q_b_proj', kvA: 'kv_a_proj_with_mqa', kvANorm: 'kv_a_layernorm', kvB: 'kv_b_proj', o: 'o_proj' } as const
    expect(Object.keys(weights).sort()).toEqual(Object.keys(names).sort())
    for (const [field, name] of Object.entries(names) as [keyof typeof names, string][]) {
      const { shape, bytes } = tensors[`${prefix}${name}.weight`]!
      expect(weights[field]).toMatchObject({ dtype: 'bfloat16', shape })
      expect(await bytesOf(weights[field])).toEqual(bytes)
    }
    dispose(weights)
  })

  test('separate: parts are fused head by head, bit by bit', async () => {
    const tensors = layer(separate, 'attn.')
    const part = (name: string): StoredTensor => tensors[`attn.${name}.weight`]!
    using file = await open(tensors)
    const weights = await loadMlaWeights(file, 'attn', { naming: 'separate', config, device })
    expect(Object.keys(weights).sort()).toEqual(['kvA', 'kvANorm', 'kvB', 'o', 'qA', 'qANorm', 'qB'])
    expect(weights.qB).toMatchObject({ dtype: 'bfloat16', shape: [18, 7] })
    expect(await bytesOf(weights.qB)).toEqual(perHead(part('decompress_q_nope'), 4, part('decompress_q_rope'), 2))
    expect(weights.kvA).toMatchObject({ dtype: 'bfloat16', shape: [7, 10] })
    expect(await bytesOf(weights.kvA)).toEqual(new Uint8Array(Buffer.concat([part('compress_kv_linear').bytes, part('k_rope_linear').bytes])))
    expect(weights.kvB).toMatchObject({ dtype: 'bfloat16', shape: [21, 5] })
    expect(await bytesOf(weights.kvB)).toEqual(perHead(part('decompress_k_nope'), 4, part('decompress_v_linear'), 3))
    for (const [field, name] of [['qA', 'compress_q_linear'], ['qANorm', 'q_norm'], ['kvANorm', 'kv_norm'], ['o', 'proj']] as const) {
      expect(await bytesOf(weights[field])).toEqual(part(name).bytes)
    }
    dispose(weights)
  })
})

test('deepseek without query compression', async () => {
  const tensors = layer(deepseekDirect)
  using file = await open(tensors)
  const weights = await loadMlaWeights(file, '', { naming: 'deepseek', config: direct })
  expect(Object.keys(weights).sort()).toEqual(['kvA', 'kvANorm', 'kvB', 'o', 'qB'])
  expect(await bytesOf(weights.qB)).toEqual(tensors['q_proj.weight']!.bytes)
  dispose(weights)
})

test('biases: one for each of the projections that may have one, fused where the weights are', async () => {
  const bias = (length: number): StoredTensor => randomStored(random, 'float32', [length])
  const tensors: Tensors = {
    ...layer(separate), 'compress_q_linear.bias': bias(7), 'compress_kv_linear.bias': bias(5), 'k_rope_linear.bias': bias(2), 'proj.bias': bias(10),
  }
  using file = await open(tensors)
  const weights = await loadMlaWeights(file, '', { naming: 'separate', config })
  expect(await bytesOf(weights.qABias)).toEqual(tensors['compress_q_linear.bias']!.bytes)
  expect(weights.kvABias?.shape).toEqual([7])
  expect(await bytesOf(weights.kvABias)).toEqual(new Uint8Array(Buffer.concat([tensors['compress_kv_linear.bias']!.bytes, tensors['k_rope_linear.bias']!.bytes])))
  expect(await bytesOf(weights.oBias)).toEqual(tensors['proj.bias']!.bytes)
  dispose(weights)

  using other = await open({ ...layer(deepseek), 'q_a_proj.bias': bias(7), 'kv_a_proj_with_mqa.bias': bias(7), 'o_proj.bias': bias(10) })
  const second = await loadMlaWeights(other, '', { naming: 'deepseek', config })
  expect([second.qABias?.shape, second.kvABias?.shape, second.oBias?.shape]).toEqual([[7], [7], [10]])
  dispose(second)
})

test('parts of different dtypes are fused in float32, exactly', async () => {
  const nope = randomStored(random, 'float16', [12, 7])
  const rope = randomStored(random, 'bfloat16', [6, 7])
  using file = await open({ ...layer(separate), 'decompress_q_nope.weight': nope, 'decompress_q_rope.weight': rope })
  const weights = await loadMlaWeights(file, '', { naming: 'separate', config })
  const widened = (dtype: 'float16' | 'bfloat16', { shape, bytes }: StoredTensor): StoredTensor =>
    stored('float32', shape, Array.from(new Uint16Array(bytes.buffer), (bits) => valueOf(dtype, bits)))
  expect(weights.qB.dtype).toBe('float32')
  expect(await bytesOf(weights.qB)).toEqual(perHead(widened('float16', nope), 4, widened('bfloat16', rope), 2))
  dispose(weights)
})

test('fp8 with block scales, as in DeepSeek-V3: dequantised, then fused or converted', async () => {
  const wide: MlaConfig = { ...config, numHeads: 2, kvLoraRank: 130, qkNopeHeadDim: 70, vHeadDim: 60 }
  const codes = randomStored(random, 'float8_e4m3', [260, 130])
  const scales = stored('float32', [3, 2], [1, 0.03, 5, 2 ** -20, 0.7, 11])
  const rest: Shapes = { ...deepseek, 'q_b_proj.weight': [144, 7], 'kv_a_proj_with_mqa.weight': [132, 10], 'kv_a_layernorm.weight': [130], 'o_proj.weight': [10, 120] }
  using file = await open({ ...layer(rest), 'kv_b_proj.weight': codes, 'kv_b_proj.weight_scale_inv': scales })
  const scale = new Float32Array(scales.bytes.buffer)
  const expected = Float32Array.from(codes.bytes, (code, i) =>
    valueOf('float8_e4m3', code) * scale[Math.floor(i / 130 / 128) * 2 + Math.floor((i % 130) / 128)]!)
  const weights = await loadMlaWeights(file, '', { naming: 'deepseek', config: wide })
  expect(weights.kvB).toMatchObject({ dtype: 'float32', shape: [260, 130] })
  expectSameBits(await weights.kvB.read(), expected)
  dispose(weights)
  const rounded = await loadMlaWeights(file, '', { naming: 'deepseek', config: wide, dtype: 'bfloat16' })
  expectSameBits(await rounded.kvB.readBits(), expected.map((value) => bitsOf('bfloat16', roundTo('bfloat16', value))))
  dispose(rounded)
})

describe('refused, before a byte of weights is read', () => {
  const without = (shapes: Shapes, name: string): Tensors => Object.fromEntries(Object.entries(layer(shapes)).filter(([key]) => key !== name))
  const more = (shapes: Shapes, name: string, shape: readonly number[]): Tensors => ({ ...layer(shapes), [name]: randomStored(random, 'bfloat16', shape) })

  test.each<[string, Tensors, 'deepseek' | 'separate', MlaConfig, string, string]>([
    ...Object.entries(deepseek).map(([name, shape]): [string, Tensors, 'deepseek', MlaConfig, string, string] =>
      [`deepseek without ${name}`, without(deepseek, name), 'deepseek', config, `${name}: expected a tensor [${shape.join(', ')}] in FILE, received none of that name`, 'INVALID_ARGUMENT']),
    ...Object.entries(separate).map(([name, shape]): [string, Tensors, 'separate', MlaConfig, string, string] =>
      [`separate without ${name}`, without(separate, name), 'separate', config, `${name}: expected a tensor [${shape.join(', ')}] in FILE, received none of that name`, 'INVALID_ARGUMENT']),
    ['another kvLoraRank', layer(deepseek), 'deepseek', { ...config, kvLoraRank: 6 }, 'kv_a_proj_with_mqa.weight: expected shape [8, 10], received [7, 10]', 'SHAPE_MISMATCH'],
    ['another number of heads', layer(deepseek), 'deepseek', { ...config, numHeads: 6 }, 'q_b_proj.weight: expected shape [36, 7], received [18, 7]', 'SHAPE_MISMATCH'],
    ['heads that only kvB shows', layer(deepseek), 'deepseek', { ...config, vHeadDim: 4 }, 'kv_b_proj.weight: expected shape [24, 5], received [21, 5]', 'SHAPE_MISMATCH'],
    ['compressed queries that the file has not', layer(deepseekDirect), 'deepseek', config, 'q_a_proj.weight: expected a tensor [7, 10] in FILE, received none of that name', 'INVALID_ARGUMENT'],
    ['direct queries that the file has not', layer(deepseek), 'deepseek', direct, 'q_proj.weight: expected a tensor [18, 10] in FILE, received none of that name', 'INVALID_ARGUMENT'],
    ['direct queries with separate', layer(separate), 'separate', direct, "options.config.qLoraRank: expected an integer, as naming 'separate' always compresses queries, received null", 'INVALID_ARGUMENT'],
    ['half a bias', more(separate, 'k_rope_linear.bias', [2]), 'separate', config, 'compress_kv_linear.bias: expected a tensor [5] in FILE, received none of that name', 'INVALID_ARGUMENT'],
    ['a bias of another length', more(deepseek, 'o_proj.bias', [9]), 'deepseek', config, 'o_proj.bias: expected shape [10], received [9]', 'SHAPE_MISMATCH'],
    ...['q_b_proj.bias', 'kv_b_proj.bias', 'indexer.wq_b.weight'].map((name): [string, Tensors, 'deepseek', MlaConfig, string, string] =>
      [`deepseek with ${name}`, more(deepseek, name, [2]), 'deepseek', config, `options.naming: expected one that has a place for '${name}', received 'deepseek'`, 'UNSUPPORTED']),
    ...['decompress_q_nope.bias', 'decompress_v_linear.bias'].map((name): [string, Tensors, 'separate', MlaConfig, string, string] =>
      [`separate with ${name}`, more(separate, name, [2]), 'separate', config, `options.naming: expected one that has a place for '${name}', received 'separate'`, 'UNSUPPORTED']),
  ])('%s', async (_, tensors, naming, given, message, code) => {
    const handles = followHandles()
    using file = await open(tensors)
    handles.reads.splice(0)
    const { tensors: before } = await settledMemory()
    const error = await rejectionOf(loadMlaWeights(file, '', { naming, config: given }))
    expect(error.message).toBe(message.replace('FILE', file.path))
    expect(error).toMatchObject({ name: 'ArgumentError', code })
    expect(handles.reads).toEqual([])
    expect(devices.memory().tensors).toBe(before)
  })

  test.each([
    [{ naming: 'llama', config }, "options.naming: expected 'deepseek' or 'separate', received 'llama'"],
    [{ naming: 'deepseek' }, 'options.config: expected an MlaConfig, received undefined'],
    [{ naming: 'deepseek', config: null }, 'options.config: expected an MlaConfig, received null'],
    [{ naming: 'deepseek', config: { ...config, numHeads: 0 } }, 'options.config.numHeads: expected an integer of at least 1, received 0'],
    [{ naming: 'deepseek', config: { ...config, qLoraRank: 1.5 } }, 'options.config.qLoraRank: expected an integer of at least 1, received 1.5'],
    [{ naming: 'deepseek', config: { ...config, vHeadDim: '3' } }, "options.config.vHeadDim: expected an integer of at least 1, received '3'"],
  ])('arguments (%#)', async (options, message) => {
    using file = await open(layer(deepseek))
    const error = await rejectionOf(loadMlaWeights(file, '', options as unknown as { naming: 'deepseek'; config: MlaConfig }))
    expect(error).toMatchObject({ name: 'ArgumentError', code: 'INVALID_ARGUMENT', message })
  })
})
