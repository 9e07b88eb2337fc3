// What only the CUDA kernels have: tiles for many rows, units of every width, and the same bits in a hundred runs.
import { flashAttention, GroupedQueryAttention, linear, mlaDecode, MlaKvCache, pagedAttention, PagedKvCache, Tensor } from '../../lib/index'
import { native } from '../../lib/native'
import { fromHandle, handleOf } from '../../lib/tensor/tensor'
import { linear as referenceLinear } from '../reference/linear'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { plainLinear } from '../support/plain-ops'
import { Random } from '../support/random'
import { tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

const cuda = testDevices.filter((id) => id !== 'cpu')
const onDevices = cuda.length > 0 ? describe.each(cuda) : describe.skip.each(['cuda:0'] as const)

onDevices('kernels of %s', (device) => {
  afterEach(() => native.forceKernel(''))

  test.each(['float16', 'bfloat16'] as const)('linear over enough rows and columns in %s for the largest tiles', (dtype) => {
    const [rows, inFeatures, outFeatures, random] = [1290, 40, 1300, new Random(5)]
    const [x, weight] = [roundAll(dtype, random.normals(rows * inFeatures)), roundAll(dtype, random.normals(outFeatures * inFeatures, inFeatures ** -0.5))]
    const y = linear(tensorOf(x, [rows, inFeatures], dtype, device), tensorOf(weight, [outFeatures, inFeatures], dtype, device))
    expectAsGoodAsPlain(y.readSync(), referenceLinear(x, weight, inFeatures), plainLinear(x, weight, inFeatures, undefined, dtype), { dtype })
  })

  // Pages of an odd number of features: their rows move in units of one element.
  test.each(['float32', 'float16', 'bfloat16', 'float8_e4m3'] as const)('rows of 5 features go into pages of %s, from page to page and out of them, bit by bit', async (dtype) => {
    const [pageSize, width] = [3, 5]
    const rows = Tensor.randn([1, 7, 1, width], { seed: 1, device }).cast(dtype)
    const pages = Tensor.zeros([4, pageSize, 1, width], { dtype, device })
    // Pages 2, 0 and 3, then page 0 once more in page 1.
    native.pagedAppend(handleOf('rows', rows), handleOf('pages', pages), Int32Array.of(6, 7, 8, 0, 1, 2, 9), null)
    native.pageCopy(handleOf('pages', pages), Int32Array.of(0, 1))
    const flat = fromHandle(native.pagedGather(handleOf('pages', pages.reshape([4, pageSize, width])), Int32Array.of(2, 1, 3), 1, 7), dtype, [6, width], device)
    expect(await flat.readBits()).toEqual(await rows.slice(1, 1, 7).contiguous().readBits())
  })

  // Caches have pages of powers of two; the kernels take any size.
  test.each([1, 3, 19, 64])('pages of %d tokens hold the same keys as a dense tensor', (pageSize) => {
    const [kvLen, heads, dim, dtype] = [70, 2, 64, 'float16'] as const
    const random = (seed: number, shape: readonly number[]) => Tensor.randn(shape, { seed, dtype, device })
    const [k, v] = [random(1, [1, kvLen, heads, dim]), random(2, [1, kvLen, heads, dim])]
    const count = Math.ceil(kvLen / pageSize)
    // The last page first; what no token fills is NaN, which nobody may read.
    const table = Int32Array.from({ length: count }, (_, i) => count - 1 - i)
    const slots = Int32Array.from({ length: kvLen }, (_, i) => table[Math.floor(i / pageSize)]! * pageSize + (i % pageSize))
    const [keys, values] = [k, v].map((rows) => {
      const pages = Tensor.from(new Float32Array(count * pageSize * heads * dim).fill(NaN), [count, pageSize, heads, dim], { dtype, device })
      native.pagedAppend(handleOf('rows', rows), handleOf('pages', pages), slots, null)
      return pages
    })
    for (const qoLen of [1, 5, 40]) {
      // The prefill row for 9.0 takes pages of some sizes only: the other row answers both calls.
      native.forceKernel(qoLen === 40 ? 'attention_tile_sm80' : '')
      const q = random(3, [1, qoLen, 4, dim])
      const int32 = (numbers: Int32Array) => handleOf('numbers', Tensor.from(numbers, [1, numbers.length], { dtype: 'int32', device }))
      const lens = handleOf('lens', Tensor.from([kvLen], [1], { dtype: 'int32', device }))
      const options = [true, -1, -1, NaN, 0, null, null, false, null, null, null, null, -1] as const
      const out = native.pagedAttention(handleOf('q', q), handleOf('k', keys!), handleOf('v', values!), int32(table), lens, kvLen, null, ...options)
      const [handle] = [out].flat() as [Parameters<typeof fromHandle>[0]]
      expectSameBits(fromHandle(handle, dtype, [1, qoLen, 4, dim], device).readSync(), flashAttention(q, k, v, { causal: true }).out.readSync(), `${qoLen} queries`)
    }
  })

  test('a layer rotates its keys on their way into the cache, in one launch', () => {
    const random = (seed: number, shape: readonly number[]) => Tensor.randn(shape, { seed, dtype: 'float16', device })
    const [hiddenSize, headDim] = [32, 16]
    const matrix = (seed: number, heads: number) => random(seed, [heads * headDim, hiddenSize])
    const weights = { q: matrix(1, 4), k: matrix(2, 2), v: matrix(3, 2), o: random(4, [hiddenSize, 4 * headDim]) }
    using layer = new GroupedQueryAttention({ hiddenSize, numHeads: 4, numKvHeads: 2, headDim, rope: { interleaved: false } }, weights)
    using cache = layer.createCache({ numPages: 2 })
    const runs = (name: string): number => native.kernels().find((kernel) => kernel.name === name)!.runs
    const names = ['rope_append_wide_sm80', 'paged_append_plain_sm80', 'rope_wide_sm80'] as const
    const before = names.map(runs)
    layer.forward(random(5, [1, 3, hiddenSize]), { cache, sequences: [cache.open()] }).dispose()
    // The keys; the values; the queries.
    expect(names.map((name, i) => runs(name) - before[i]!)).toEqual([1, 1, 1])
  })

  test('a hundred runs give the same bits', () => {
    const random = (seed: number, shape: readonly number[]) => Tensor.randn(shape, { seed, dtype: 'float16', device })
    const [q, one, k, v] = [random(1, [1, 20, 4, 64]), random(2, [1, 1, 4, 64]), random(3, [1, 20, 2, 64]), random(4, [1, 20, 2, 64])]
    using kv = new PagedKvCache({ numPages: 40, pageSize: 16, numKvHeads: 2, headDimQk: 64, dtype: 'float16', device })
    using latents = new MlaKvCache({ numPages: 24, pageSize: 16, kvLoraRank: 64, qkRopeHeadDim: 16, dtype: 'float16', device })
    const [sequence, latent] = [kv.open(), latents.open()]
    // Enough keys for several splits.
    kv.append([sequence], random(5, [1, 600, 2, 64]), random(6, [1, 600, 2, 64]))
    latents.append([latent], random(7, [1, 300, 64]), random(8, [1, 300, 16]))
    using batch = kv.batch([sequence])
    using latentBatch = latents.batch([latent])
    const [qNope, qPe, x, weight] = [random(9, [1, 1, 8, 64]), random(10, [1, 1, 8, 16]), random(11, [20, 64]), random(12, [48, 64])]
    const ops: Readonly<Record<string, () => Tensor>> = {
      prefill: () => flashAttention(q, k, v, { causal: true }).out,
      pagedAttention: () => pagedAttention(one, kv, batch).out,
      mlaDecode: () => mlaDecode(qNope, qPe, latents, latentBatch, { softmaxScale: 0.1 }).out,
      linear: () => linear(x, weight),
    }
    for (const [op, run] of Object.entries(ops)) {
      const bits = () => {
        using out = run()
        return out.readSync()
      }
      const first = bits()
      for (let again = 1; again < 100; ++again) expectSameBits(bits(), first, `${op}, run ${again}`)
    }
  })
})
