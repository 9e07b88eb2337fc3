// Decoding at every size that kernels are compiled for: rows, head dims, keys and values in 16 bits and in float8_e4m3.
import { flashAttention } from '../../lib/index'
import { native } from '../../lib/native'
import { attentionCase, makeArrays } from '../support/attention-cases'
import { testDevices } from '../support/devices'
import { callOptions, expectAttention } from '../support/run-attention'
import { tensorOf } from '../support/tensors'

const cuda = testDevices.filter((id) => id !== 'cpu')
const onDevices = cuda.length > 0 ? describe.each(cuda) : describe.skip.each(['cuda:0'] as const)

const row = 'attention_decode_sm90a'
const find = () => native.kernels().find(({ name }) => name === row)

onDevices('decoding on %s', (device) => {
  // Two heads share their keys: 2, 16 and 30 or 40 query rows.
  const sizes = [64, 128, 256].flatMap((dim) => [1, 8, dim < 256 ? 20 : 15].map((qoLen) => [dim, qoLen] as const))
  const dtypes = [['float16', 'float16'], ['bfloat16', 'bfloat16'], ['float16', 'float8_e4m3'], ['bfloat16', 'float8_e4m3'], ['float8_e4m3', 'float8_e4m3']] as const

  // Three tiles of keys, the last half full; with a window the first too.
  test.each(sizes.flatMap(([dim, qoLen]) => dtypes.map(([dtype, kvDType]) => [dim, qoLen, dtype, kvDType] as const)))(
    'head dim %d, %d queries in %s, keys in %s', (dim, qoLen, dtype, kvDType) => {
      const c = attentionCase({ headDimQk: dim, headDimVo: dim, qoLen, kvLen: 160, numQoHeads: 2, numKvHeads: 1, options: { causal: true, window: { left: 130 } } })
      const [queries, keys] = [makeArrays(c, dtype, 1), makeArrays(c, kvDType, 2)]
      const arrays = { ...keys, q: queries.q }
      // Hidden from all but the first rows, or from all.
      for (let j = 0; j < 20; ++j) arrays.v.fill([NaN, Infinity, 1][j % 3]!, j * dim, (j + 1) * dim)
      if (kvDType === 'float8_e4m3') arrays.v.forEach((value, i) => (arrays.v[i] = value === Infinity ? NaN : value))
      const q = tensorOf(arrays.q, [1, qoLen, 2, dim], dtype, device)
      const [k, v] = [arrays.k, arrays.v].map((rows) => tensorOf(rows, [1, 160, 1, dim], kvDType, device))
      const before = find()?.runs
      const result = flashAttention(q, k!, v!, callOptions(c.options, 1, 2, device))
      expectAttention(result, arrays, c.options, dtype === 'float8_e4m3' ? 'bfloat16' : dtype)
      if (find()?.unusable === '') expect(find()!.runs).toBe(before! + 1)
    })
})
