/** Every row of the kernel registry that this machine can run, asked for by name, runs and agrees with the kernel that runs otherwise. */
import { gatherLatents } from '../../lib/cache/mla-kv-cache'
import {
  devices, flashAttention, linear, mergeStates, mlaDecode, MlaKvCache, PagedKvCache, quantizeFloat8, rmsNorm, rope, Tensor, type DeviceId,
} from '../../lib/index'
import { native } from '../../lib/native'
import { nativeRopeOptions } from '../../lib/ops/rope-config'
import { handleOf } from '../../lib/tensor/tensor'
import { worstError } from '../support/compare'

type Numbers = ArrayLike<number>

const random = (shape: readonly number[], seed: number, device: DeviceId): Tensor<'float32'> => Tensor.randn(shape, { device, seed })

type DType = 'float32' | 'float16'

function attention(device: DeviceId, dtype: DType): Numbers {
  const [q, k, v] = [random([2, 2, 4, 40], 1, device), random([2, 99, 2, 40], 2, device), random([2, 99, 2, 40], 3, device)].map((x) => x.cast(dtype))
  return flashAttention(q!, k!, v!, { causal: true }).out.readSync()
}

function decode(device: DeviceId, dtype: DType, kvLoraRank = 32, qkRopeHeadDim = 8): Numbers {
  using cache = new MlaKvCache({ numPages: 4, pageSize: 16, kvLoraRank, qkRopeHeadDim, device, dtype })
  const sequence = cache.open()
  cache.append([sequence], random([1, 50, kvLoraRank], 1, device).cast(dtype), random([1, 50, qkRopeHeadDim], 2, device).cast(dtype))
  using batch = cache.batch([sequence])
  const queries = [kvLoraRank, qkRopeHeadDim].map((dim, n) => random([1, 2, 4, dim], 3 + n, device).cast(dtype)) as [Tensor<DType>, Tensor<DType>]
  return mlaDecode(...queries, cache, batch, { softmaxScale: kvLoraRank === 32 ? 0.2 : 0.02 }).out.readSync()
}

/** For each op of the registry a small call that all its kernels take, and the numbers that it gives. */
const cases: Readonly<Record<string, (device: DeviceId) => Numbers>> = {
  attention: (device) => attention(device, 'float32'),
  mlaDecode: (device) => decode(device, 'float32'),
  mergeStates: (device) =>
    mergeStates([5, 6].map((seed) => ({ out: random([1, 7, 3, 20], seed, device), lse: random([1, 3, 7], seed + 2, device) }))).out.readSync(),
  rope: (device) => rope(random([1, 9, 3, 24], 1, device), { interleaved: true }).readSync(),
  ropeAppend(device) {
    const pages = Tensor.zeros([3, 4, 2, 24], { device })
    native.ropeAppend(handleOf('src', random([1, 9, 2, 24], 1, device)), handleOf('pages', pages), Int32Array.of(8, 9, 10, 11, 0, 1, -1, 3, 4), null, null,
      ...nativeRopeOptions('config', { interleaved: true }, 24))
    return pages.readSync()
  },
  rmsNorm: (device) => rmsNorm(random([9, 37], 1, device), random([37], 2, device)).readSync(),
  quantizeFloat8: (device) => quantized(device, 37),
  linear: (device) => linear(random([9, 70], 1, device), random([33, 70], 2, device)).readSync(),
  copy: (device) => random([20, 30], 1, device).transpose(0, 1).cast('bfloat16').readSync(),
  randn: (device) => random([333], 1, device).readSync(),
  pagedAppend: (device) => cacheRows(device),
  pageCopy: (device) => cacheRows(device),
  latentAppend: latentRows,
  latentGather: latentRows,
  pagedGather(device) {
    const pages = random([4, 8, 6], 1, device)
    const gathered = native.pagedGather(handleOf('pages', pages), Int32Array.of(2, 0, 3), 3, 20)
    const numbers = new Float32Array(17 * 6)
    native.readNumbersSync(gathered, numbers)
    return numbers
  },
}

/** Rows of float8_e4m3 in a cache, and back as numbers: what latentAppend and latentGather do. */
function latentRows(device: DeviceId): Numbers {
  using cache = new MlaKvCache({ numPages: 2, pageSize: 4, kvLoraRank: 512, qkRopeHeadDim: 64, dtype: 'float8_e4m3', device })
  const sequence = cache.open()
  cache.append([sequence], random([1, 6, 512], 1, device), random([1, 6, 64], 2, device))
  return gatherLatents(cache, sequence.pages, 1, 6, 'float32').readSync()
}

function quantized(device: DeviceId, dim: number): Numbers {
  const { codes, scales } = quantizeFloat8(random([2, 9, 4, dim], 1, device), { groupSize: 2 })
  return [...codes.readSync(), ...scales.readSync()]
}

/** Calls for rows that do not take the one of their op. */
const rowCases: Readonly<Record<string, (device: DeviceId) => Numbers>> = {
  attention_split_sm80: (device) => attention(device, 'float16'),
  attention_tile_sm80: (device) => attention(device, 'float16'),
  attention_decode_sm90a: (device) => attention(device, 'float16'),
  attention_prefill_sm90a: (device) => attention(device, 'float16'),
  mla_decode_sm90a: (device) => decode(device, 'float16', 512, 64),
  mla_decode_sm80: (device) => decode(device, 'float16'),
  copy_units_sm80: (device) => random([20, 30], 1, device).transpose(0, 1).contiguous().readSync(),
  copy_convert_sm80: (device) => random([20, 30], 1, device).cast('bfloat16').readSync(),
  quantize_float8_wide_sm80: (device) => quantized(device, 40),
  rms_norm_wide_sm80: (device) => rmsNorm(random([9, 40], 1, device), random([40], 2, device)).readSync(),
  linear_cublaslt_sm80: (device) => linear(random([9, 72], 1, device).cast('bfloat16'), random([40, 72], 2, device).cast('bfloat16')).readSync(),
  linear_tile_sm80: (device) => linear(random([9, 72], 1, device).cast('bfloat16'), random([33, 72], 2, device).cast('bfloat16')).readSync(),
}

function bfloat16Attention(device: DeviceId, queries: readonly number[]): Numbers {
  const half = (shape: readonly number[], seed: number): Tensor<'bfloat16'> => random(shape, seed, device).cast('bfloat16')
  return flashAttention(half(queries, 1), half([2, 99, 2, 40], 2), half([2, 99, 2, 40], 3), { causal: true }).out.readSync()
}

/** Calls for rows that take no float32, by the row's name without its instruction set, or by op: bfloat16, all operands of it. */
const bfloat16Cases: Readonly<Record<string, (device: DeviceId) => Numbers>> = {
  attention_rows: (device) => bfloat16Attention(device, [2, 2, 6, 40]),  // 6 query rows per kv head: few, but more than float32 is left
  attention: (device) => bfloat16Attention(device, [2, 40, 4, 40]),
  mlaDecode(device) {
    using cache = new MlaKvCache({ numPages: 4, pageSize: 16, kvLoraRank: 32, qkRopeHeadDim: 8, dtype: 'bfloat16', device })
    const half = (shape: readonly number[], seed: number): Tensor<'bfloat16'> => random(shape, seed, device).cast('bfloat16')
    const sequence = cache.open()
    cache.append([sequence], half([1, 50, 32], 1), half([1, 50, 8], 2))
    using batch = cache.batch([sequence])
    return mlaDecode(half([1, 2, 4, 32], 3), half([1, 2, 4, 8], 4), cache, batch, { softmaxScale: 0.2 }).out.readSync()
  },
  linear: (device) => linear(random([19, 64], 1, device).cast('bfloat16'), random([33, 64], 2, device).cast('bfloat16')).readSync(),
}

/** A fork writes to a half-full page that it shares: the page is copied, then appended to. */
function cacheRows(device: DeviceId): Numbers {
  using cache = new PagedKvCache({ numPages: 3, pageSize: 4, numKvHeads: 2, headDimQk: 5, device })
  const sequence = cache.open()
  cache.append([sequence], random([1, 6, 2, 5], 1, device), random([1, 6, 2, 5], 2, device))
  const fork = sequence.fork()
  cache.append([fork], random([1, 1, 2, 5], 3, device), random([1, 1, 2, 5], 4, device))
  const rows = [...sequence.pages, ...fork.pages].flatMap((page) => Array.from(cache.keys.slice(0, page, page + 1).readSync()))
  // Slots 6 and 7 of the sequence and slot 7 of the fork hold nothing.
  return rows.filter((_, n) => ![6, 7, 15].includes(Math.floor(n / 10)))
}

devices.list()  // a device's kernels are listed once it was asked for
const rows = native.kernels()

describe('the kernel registry', () => {
  afterEach(() => native.forceKernel(''))

  it('has a case here for each op', () => {
    const ops = new Set(rows.map((row) => row.op))
    // Rotation on the way into a cache is a kernel of its own on GPUs alone; elsewhere it is the two steps.
    expect(new Set(Object.keys(cases))).toEqual(ops.add('ropeAppend'))
  })

  it('says of each kernel whether this machine can run it', () => {
    for (const row of rows) expect(typeof row.unusable).toBe('string')
    // On every device the last kernel of an op runs anywhere.
    for (const { op, device } of rows) expect(rows.some((row) => row.op === op && row.device === device && row.unusable === '')).toBe(true)
  })

  it.each(rows.filter((row) => row.unusable === '').map((row) => [row.name, row] as const))('%s runs when asked for, and agrees', (name, row) => {
    const device = row.device === 'cpu' ? 'cpu' : 'cuda:0'
    const narrow = row.device === 'cpu' && !row.dtypes.includes('float32')
    const call = narrow ? bfloat16Cases[name.replace(/_[^_]+$/, '')] ?? bfloat16Cases[row.op]! : rowCases[name] ?? cases[row.op]!
    const expected = call(device)
    native.forceKernel(name)
    const runs = (): number => native.kernels().find((kernel) => kernel.name === name)!.runs
    const before = runs()
    const actual = call(device)
    expect(runs()).toBeGreaterThan(before)
    // Sums of at most a hundred float32 products of size one, in another order; where two 16-bit kernels differ, each rounds the weights
    // and the result to float16.
    const rounded = /^(attention_(split|tile|decode|prefill)|mla_decode)_sm(80|90a)$/.test(name)
    expect(worstError(actual, expected).error).toBeLessThan(rounded ? 4 * 2 ** -11 : 100 * 2 ** -23)
  })

  it('says why a kernel does not run here', () => {
    for (const row of rows.filter(({ unusable }) => unusable !== '')) {
      native.forceKernel(row.name)
      expect(() => cases[row.op]!(row.device === 'cpu' ? 'cpu' : 'cuda:0')).toThrow(row.unusable)
    }
  })

  it('refuses a name that it does not have', () => {
    expect(() => native.forceKernel('attention_tile_abacus')).toThrow('no kernel is named attention_tile_abacus')
  })
})
