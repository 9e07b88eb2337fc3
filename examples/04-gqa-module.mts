// An attention layer as checkpoints have it. Prefill, chunked prefill and decoding are the same call.
import { GroupedQueryAttention, Tensor } from 'node-flash-attention'

const [hiddenSize, numHeads, numKvHeads] = [256, 8, 2]
const headDim = hiddenSize / numHeads
const weight = (seed: number, rows: number, columns: number): Tensor<'float32'> => {
  const scale = 1 / Math.sqrt(columns)
  const normal = Tensor.randn([rows, columns], { seed }).readSync()
  return Tensor.from(normal.map((x) => x * scale), [rows, columns])
}

using layer = new GroupedQueryAttention(
  { hiddenSize, numHeads, numKvHeads, rope: { theta: 500_000, interleaved: false } },
  {
    q: weight(1, numHeads * headDim, hiddenSize),
    k: weight(2, numKvHeads * headDim, hiddenSize),
    v: weight(3, numKvHeads * headDim, hiddenSize),
    o: weight(4, hiddenSize, numHeads * headDim),
  },
)

const x = Tensor.randn([1, 24, hiddenSize], { seed: 5 })
const whole = await layer.forward(x).read()

// The same tokens through a cache: a prompt of 20, then one at a time.
using cache = layer.createCache({ numPages: 8 })
using sequence = cache.open()
const parts = [await layer.forward(x.slice(1, 0, 20), { cache, sequences: [sequence] }).read()]
for (let i = 20; i < 24; ++i) parts.push(await layer.forward(x.slice(1, i, i + 1), { cache, sequences: [sequence] }).read())

const cached = parts.flatMap((part) => Array.from(part))
console.log('tokens in the cache:', sequence.length)
console.log('the cached steps agree with one pass:', cached.every((value, i) => Math.abs(value - whole[i]!) < 1e-4))
