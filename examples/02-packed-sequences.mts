// Sequences of different lengths in one call, packed row after row and without padding.
import { flashAttention, flashAttentionVarlen, Tensor } from 'node-flash-attention'

const lens = [5, 1, 12]
const indptr = [0, 5, 6, 18] // where each sequence begins, and the end of the last
const [numHeads, headDim] = [4, 32]

const q = Tensor.randn([18, numHeads, headDim], { seed: 1 })
const k = Tensor.randn([18, numHeads, headDim], { seed: 2 })
const v = Tensor.randn([18, numHeads, headDim], { seed: 3 })

const { out } = flashAttentionVarlen(q, k, v, { causal: true, qoIndptr: indptr, kvIndptr: indptr })
console.log('packed out', out.shape)

// The same as each sequence by itself. Slices are views: nothing is copied.
for (const [i, len] of lens.entries()) {
  const [begin, end] = [indptr[i]!, indptr[i + 1]!]
  const alone = (x: Tensor): Tensor<'float32'> => x.slice(0, begin, end).reshape([1, len, numHeads, headDim]) as Tensor<'float32'>
  const own = await flashAttention(alone(q), alone(k), alone(v), { causal: true }).out.read()
  const packed = await out.slice(0, begin, end).read()
  console.log(`sequence of ${len}: same as alone:`, own.every((x, j) => Math.abs(x - packed[j]!) < 1e-6))
}
