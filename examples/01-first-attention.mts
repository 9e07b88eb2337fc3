// Grouped-query attention: 8 query heads share 2 key/value heads, which are never copied.
import { flashAttention, Tensor } from 'node-flash-attention'

const [batch, len, numQoHeads, numKvHeads, headDim] = [1, 256, 8, 2, 64]

const q = Tensor.randn([batch, len, numQoHeads, headDim], { seed: 1 })
const k = Tensor.randn([batch, len, numKvHeads, headDim], { seed: 2 })
const v = Tensor.randn([batch, len, numKvHeads, headDim], { seed: 3 })

// Returns at once: the work is queued, and reading waits for it.
const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true })

console.log('out', out.shape, 'lse', lse.shape)

// The first token sees itself alone, so its output is its own value row.
const [first, value] = [await out.read(), await v.read()]
console.log('first token returns its own value:', first.subarray(0, headDim).every((x, i) => Math.abs(x - value[i]!) < 1e-6))
