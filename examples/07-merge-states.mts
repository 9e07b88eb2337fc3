// Attention over parts of the keys, merged exactly: how a shared prefix or keys on several machines are put together.
import { flashAttention, mergeStates, Tensor } from 'node-flash-attention'

const [qoLen, kvLen, numHeads, headDim] = [4, 300, 4, 64]
const q = Tensor.randn([1, qoLen, numHeads, headDim], { seed: 1 })
const k = Tensor.randn([1, kvLen, numHeads, headDim], { seed: 2 })
const v = Tensor.randn([1, kvLen, numHeads, headDim], { seed: 3 })

// Each part returns its output and the log-sum-exp of its logits: together they are all that a merge needs.
const parts = [[0, 128], [128, 200], [200, 300]].map(([begin, end]) =>
  flashAttention(q, k.slice(1, begin!, end!), v.slice(1, begin!, end!), { returnLse: true }),
)
const merged = mergeStates(parts)
const whole = flashAttention(q, k, v, { returnLse: true })

const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
console.log('outputs agree:', difference(await merged.out.read(), await whole.out.read()) < 1e-5)
console.log('log-sum-exps agree:', difference(await merged.lse.read(), await whole.lse.read()) < 1e-5)
