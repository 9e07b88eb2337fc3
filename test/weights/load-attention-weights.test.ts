import { devices, loadAttentionWeights, SafetensorsFile, type AttentionWeights, type FloatTensor } from '../../lib/index'
import { valueOf } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { followHandles } from '../support/file-handles'
import { settledMemory } from '../support/memory'
import { Random } from '../support/random'
import { randomStored, rejectionOf, safetensorsFile, stored, temporaryFiles, type StoredTensor } from '../support/safetensors'

const write = temporaryFiles()
afterEach(() => jest.restoreAllMocks())

const random = new Random(21)
const prefix = 'model.layers.3.self_attn'
/** hiddenSize 6, 4 query heads and 2 kv heads of 2. */
const shapes = { q: [8, 6], k: [4, 6], v: [4, 6], o: [6, 8] } as const
const stems = {
  llama: { q: 'q_proj', k: 'k_proj', v: 'v_proj', o: 'o_proj' },
  qwen3: { q: 'q_proj', k: 'k_proj', v: 'v_proj', o: 'o_proj' },
  separate: { q: 'query', k: 'key', v: 'value', o: 'proj' },
} as const
type Naming = keyof typeof stems
type Tensors = Record<string, StoredTensor>

/** The tensors of a layer under their names in the file. */
function layer(naming: Naming, at = `${prefix}.`): Tensors {
  const tensors: Tensors = {}
  for (const part of ['q', 'k', 'v', 'o'] as const) tensors[`${at}${stems[naming][part]}.weight`] = randomStored(random, 'bfloat16', shapes[part])
  if (naming === 'qwen3') for (const norm of ['q_norm', 'k_norm']) tensors[`${at}${norm}.weight`] = randomStored(random, 'bfloat16', [2])
  return tensors
}

function open(tensors: Tensors): Promise<SafetensorsFile> {
  return SafetensorsFile.open(write('layer.safetensors', safetensorsFile(tensors)))
}

async function bytesOf(tensor: FloatTensor | undefined): Promise<Uint8Array | undefined> {
  const bits = await tensor?.readBits()
  return bits === undefined ? undefined : new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength)
}

function dispose(weights: AttentionWeights): void {
  for (const tensor of Object.values(weights) as FloatTensor[]) tensor.dispose()
}

describe.each(testDevices)('on %s', (device) => {
  test.each(Object.keys(stems) as Naming[])('%s: every weight keeps its bits', async (naming) => {
    const tensors: Tensors = { ...layer(naming), [`${prefix}.rotary_emb.inv_freq`]: randomStored(random, 'float32', [1]) }
    using file = await open(tensors)
    const weights = await loadAttentionWeights(file, prefix, { naming, device })
    expect(Object.keys(weights).sort()).toEqual(naming === 'qwen3' ? ['k', 'kNorm', 'o', 'q', 'qNorm', 'v'] : ['k', 'o', 'q', 'v'])
    for (const part of ['q', 'k', 'v', 'o'] as const) {
      expect(weights[part]).toMatchObject({ dtype: 'bfloat16', shape: shapes[part] })
      expect(await bytesOf(weights[part])).toEqual(tensors[`${prefix}.${stems[naming][part]}.weight`]!.bytes)
    }
    expect(await bytesOf(weights.qNorm)).toEqual(tensors[`${prefix}.q_norm.weight`]?.bytes)
    expect(await bytesOf(weights.kNorm)).toEqual(tensors[`${prefix}.k_norm.weight`]?.bytes)
    dispose(weights)
  })
})

test.each([['with a dot', `${prefix}.`, `${prefix}.`], ['empty', '', '']])('a prefix %s', async (_, given, stored) => {
  using file = await open(layer('llama', stored))
  const weights = await loadAttentionWeights(file, given, { naming: 'llama' })
  expect(weights.o.shape).toEqual([6, 8])
  dispose(weights)
})

test('biases are optional one by one', async () => {
  const tensors: Tensors = {
    ...layer('llama'), [`${prefix}.q_proj.bias`]: randomStored(random, 'float32', [8]), [`${prefix}.o_proj.bias`]: randomStored(random, 'float16', [6]),
  }
  using file = await open(tensors)
  const weights = await loadAttentionWeights(file, prefix, { naming: 'llama' })
  expect(Object.keys(weights).sort()).toEqual(['k', 'o', 'oBias', 'q', 'qBias', 'v'])
  expect(weights.qBias).toMatchObject({ dtype: 'float32', shape: [8] })
  expect(await bytesOf(weights.oBias)).toEqual(tensors[`${prefix}.o_proj.bias`]!.bytes)
  dispose(weights)
})

test('dtype converts every weight', async () => {
  using file = await open({ ...layer('qwen3'), [`${prefix}.q_proj.bias`]: randomStored(random, 'float32', [8]) })
  const weights = await loadAttentionWeights(file, prefix, { naming: 'qwen3', dtype: 'float16' })
  expect((Object.values(weights) as FloatTensor[]).map(({ dtype }) => dtype)).toEqual(Array(7).fill('float16'))
  dispose(weights)
})

describe('fp8 with block scales', () => {
  const [qRows, hidden] = [256, 132]
  const wide = { q: [qRows, hidden], k: [128, hidden], v: [128, hidden], o: [hidden, qRows] } as const
  const tensors: Tensors = {}
  for (const part of ['q', 'k', 'v', 'o'] as const) tensors[`${prefix}.${stems.llama[part]}.weight`] = randomStored(random, 'float8_e4m3', wide[part])
  const q = `${prefix}.q_proj.weight`
  const scales = [0.5, 3e-4, 7.7, 0.11]

  test.each(['float32', 'bfloat16'] as const)('scales in %s', async (dtype) => {
    const scaleTensor = stored(dtype, [2, 2], scales)
    using file = await open({ ...tensors, [`${q}_scale_inv`]: scaleTensor })
    const weights = await loadAttentionWeights(file, prefix, { naming: 'llama' })
    expect([weights.q.dtype, weights.k.dtype]).toEqual(['float32', 'float8_e4m3'])
    const bits = dtype === 'float32' ? new Uint32Array(scaleTensor.bytes.buffer) : new Uint16Array(scaleTensor.bytes.buffer)
    const expected = Float32Array.from(tensors[q]!.bytes, (code, i) => {
      const [row, col] = [Math.floor(i / hidden), i % hidden]
      return valueOf('float8_e4m3', code) * valueOf(dtype, bits[Math.floor(row / 128) * 2 + Math.floor(col / 128)]!)
    })
    expectSameBits(await weights.q.read(), expected)
    expectSameBits((await bytesOf(weights.k))!, tensors[`${prefix}.k_proj.weight`]!.bytes)
    dispose(weights)
  })

  test.each([
    [{ [`${q}_scale_inv`]: stored('float32', [2, 3], [...scales, 1, 1]) }, `${q}_scale_inv: expected shape [2, 2], received [2, 3]`, 'SHAPE_MISMATCH'],
    [{ [`${q}_scale_inv`]: stored('float8_e4m3', [2, 2], scales) }, `${q}_scale_inv: expected dtype F32, F16 or BF16, received F8_E4M3`, 'UNSUPPORTED'],
    [{ [`${q}_scale`]: stored('float32', [1], [1]) }, `${q}: expected fp8 block scales named ${q}_scale_inv, received ${q}_scale`, 'UNSUPPORTED'],
  ])('refuses other scales (%#)', async (more, message, code) => {
    using file = await open({ ...tensors, ...more })
    expect(await rejectionOf(loadAttentionWeights(file, prefix, { naming: 'llama' }))).toMatchObject({ name: 'ArgumentError', message, code })
  })

  test('scales of weights that are not fp8 are left alone', async () => {
    const plain = layer('llama')
    using file = await open({ ...plain, [`${q}_scale_inv`]: stored('float32', [1, 1], [2]) })
    const weights = await loadAttentionWeights(file, prefix, { naming: 'llama' })
    expect(await bytesOf(weights.q)).toEqual(plain[q]!.bytes)
    dispose(weights)
  })
})

describe('refused, before a byte of weights is read', () => {
  const at = (name: string): string => `${prefix}.${name}`
  const without = (name: string, naming: Naming = 'llama'): Tensors => Object.fromEntries(Object.entries(layer(naming)).filter(([key]) => key !== at(name)))
  const instead = (name: string, shape: readonly number[], naming: Naming = 'llama'): Tensors => ({ ...layer(naming), [at(name)]: randomStored(random, 'bfloat16', shape) })

  test.each<[string, Tensors, Naming, string, string]>([
    ['no q', without('q_proj.weight'), 'llama', `${at('q_proj.weight')}: expected a tensor [numHeads * headDim, hiddenSize] in FILE, received none of that name`, 'INVALID_ARGUMENT'],
    ['no v', without('v_proj.weight'), 'llama', `${at('v_proj.weight')}: expected a tensor [4, 6] in FILE, received none of that name`, 'INVALID_ARGUMENT'],
    ['another naming', layer('separate'), 'llama', `${at('q_proj.weight')}: expected a tensor [numHeads * headDim, hiddenSize] in FILE, received none of that name`, 'INVALID_ARGUMENT'],
    ['no k norm', without('k_norm.weight', 'qwen3'), 'qwen3', `${at('k_norm.weight')}: expected a tensor [2] in FILE, received none of that name`, 'INVALID_ARGUMENT'],
    ['q of rank 1', instead('q_proj.weight', [48]), 'llama', `${at('q_proj.weight')}: expected shape [numHeads * headDim, hiddenSize], received [48]`, 'SHAPE_MISMATCH'],
    ['q without rows', instead('q_proj.weight', [0, 6]), 'llama', `${at('q_proj.weight')}: expected shape [numHeads * headDim, hiddenSize], received [0, 6]`, 'SHAPE_MISMATCH'],
    ['k of another width', instead('k_proj.weight', [4, 5]), 'llama', `${at('k_proj.weight')}: expected shape [4, 6], received [4, 5]`, 'SHAPE_MISMATCH'],
    ['k that does not divide q', instead('k_proj.weight', [3, 6]), 'llama', `${at('k_proj.weight')}: expected rows that divide those of ${at('q_proj.weight')} (8), received 3`, 'SHAPE_MISMATCH'],
    ['v unlike k', instead('v_proj.weight', [8, 6]), 'llama', `${at('v_proj.weight')}: expected shape [4, 6], received [8, 6]`, 'SHAPE_MISMATCH'],
    ['o transposed', instead('o_proj.weight', [8, 6]), 'llama', `${at('o_proj.weight')}: expected shape [6, 8], received [8, 6]`, 'SHAPE_MISMATCH'],
    ['bias too long', instead('k_proj.bias', [5]), 'llama', `${at('k_proj.bias')}: expected shape [4], received [5]`, 'SHAPE_MISMATCH'],
    ['norm that does not divide k', instead('q_norm.weight', [3], 'qwen3'), 'qwen3', `${at('q_norm.weight')}: expected headDim to divide the rows of ${at('k_proj.weight')} (4), received 3`, 'SHAPE_MISMATCH'],
    ['norms that differ', instead('k_norm.weight', [4], 'qwen3'), 'qwen3', `${at('k_norm.weight')}: expected shape [2], received [4]`, 'SHAPE_MISMATCH'],
    ['norms that llama has not', layer('qwen3'), 'llama', `options.naming: expected one that has a place for '${at('q_norm.weight')}', received 'llama'`, 'UNSUPPORTED'],
    ['sinks', { ...layer('llama'), [at('sinks')]: randomStored(random, 'float32', [4]) }, 'llama', `options.naming: expected one that has a place for '${at('sinks')}', received 'llama'`, 'UNSUPPORTED'],
    ['quantised weights', { ...layer('llama'), [at('v_proj.weight')]: { dtype: 'I8', shape: [4, 6], bytes: Buffer.alloc(24) } }, 'llama', `${at('v_proj.weight')}: expected dtype F32, F16, BF16 or F8_E4M3, received I8`, 'UNSUPPORTED'],
  ])('%s', async (_, tensors, naming, message, code) => {
    const handles = followHandles()
    using file = await open(tensors)
    handles.reads.splice(0)
    const { tensors: before } = await settledMemory()
    const error = await rejectionOf(loadAttentionWeights(file, prefix, { naming }))
    expect(error.message).toBe(message.replace('FILE', file.path))
    expect(error).toMatchObject({ name: 'ArgumentError', code })
    expect(handles.reads).toEqual([])
    expect(devices.memory().tensors).toBe(before)
  })

  test.each([
    [{}, 'file: expected a SafetensorsFile, received an object', { naming: 'llama' }, prefix],
    ['file', 'prefix: expected the layer\'s name in the checkpoint, as \'model.layers.0.self_attn\', received 3', { naming: 'llama' }, 3],
    ['file', "options.naming: expected 'llama' or 'qwen3' or 'separate', received 'gpt2'", { naming: 'gpt2' }, prefix],
    ['file', "options.naming: expected 'llama' or 'qwen3' or 'separate', received undefined", undefined, prefix],
    ['file', "options: expected options among naming, device, dtype, received unknown option 'config'", { naming: 'llama', config: {} }, prefix],
    ['file', "options.dtype: expected a float dtype, received 'int32'", { naming: 'llama', dtype: 'int32' }, prefix],
  ])('arguments (%#)', async (given, message, options, at) => {
    using file = await open(layer('llama'))
    const target: unknown = given === 'file' ? file : given
    const error = await rejectionOf(loadAttentionWeights(target as never, at as never, options as never))
    expect(error).toMatchObject({ name: 'ArgumentError', message })
  })
})

test('a file closed half-way leaves no tensor behind', async () => {
  using file = await open(layer('llama'))
  const { tensors: before } = await settledMemory()
  const loading = rejectionOf(loadAttentionWeights(file, prefix, { naming: 'llama' }))
  file.close()
  expect(await loading).toMatchObject({ code: 'DISPOSED' })
  expect(devices.memory().tensors).toBe(before)
})
