/** One attention call in a fresh process: the largest memory in use during it, beyond inputs and outputs. */
import { devices, flashAttention, Tensor } from '../../../lib/index'

type Shape = Readonly<Record<'qoLen' | 'kvLen' | 'numQoHeads' | 'numKvHeads' | 'headDim', number>>
const { qoLen, kvLen, numQoHeads, numKvHeads, headDim } = JSON.parse(process.argv[2]!) as Shape
const options = { dtype: 'bfloat16', seed: 1 } as const
const q = Tensor.randn([1, qoLen, numQoHeads, headDim], options)
const k = Tensor.randn([1, kvLen, numKvHeads, headDim], options)
const v = Tensor.randn([1, kvLen, numKvHeads, headDim], options)
q.readSync()
devices.setNumThreads(2)
const inputs = devices.memory().bytes
const { out } = flashAttention(q, k, v, { causal: true })
out.readSync()
const workspace = devices.memory().peakBytes - inputs - out.byteLength
console.log(JSON.stringify({ inputs, expectedInputs: q.byteLength + k.byteLength + v.byteLength, workspace }))
