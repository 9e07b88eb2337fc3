// Attention over operands in float8_e4m3: codes of one byte and a scale for each sequence and kv head, made where the tensors lie.
import { flashAttention, quantizeFloat8, Tensor } from 'node-flash-attention'

const [batch, len, numQoHeads, numKvHeads, headDim] = [2, 200, 8, 2, 64]
const q = Tensor.randn([batch, len, numQoHeads, headDim], { seed: 1 })
const k = Tensor.randn([batch, len, numKvHeads, headDim], { seed: 2 })
const v = Tensor.randn([batch, len, numKvHeads, headDim], { seed: 3 })

// The query heads of a kv head share a scale.
const q8 = quantizeFloat8(q, { groupSize: numQoHeads / numKvHeads })
const [k8, v8] = [quantizeFloat8(k), quantizeFloat8(v)]
console.log('codes', k8.codes.dtype, k8.codes.shape, 'scales', k8.scales.shape)

const { out } = flashAttention(q8.codes, k8.codes, v8.codes, {
  causal: true, queryScales: q8.scales, keyScales: k8.scales, valueScales: v8.scales, dtype: 'float32',
})

// A number of 4 significant bits is off by a sixteenth of itself at most.
const expected = await flashAttention(q, k, v, { causal: true }).out.read()
const actual = await out.read()
const norm = (x: ArrayLike<number>): number => Math.sqrt(Array.from(x).reduce((sum, value) => sum + value * value, 0))
const error = norm(Array.from(actual, (value, i) => value - expected[i]!)) / norm(expected)
console.log('less than a sixteenth off:', error < 1 / 16)
