// Runs ops once on the first CUDA device and once on the CPU: which device it was, the largest difference of each op, and a digest of the bits.
import { createHash } from 'node:crypto'
import { devices, flashAttention, linear, mlaDecode, MlaKvCache, rmsNorm, rope, Tensor, type DeviceId } from '../../../lib/index'

const dtype = 'float16'

function results(device: DeviceId): Record<string, ArrayLike<number>> {
  const random = (seed: number, shape: readonly number[]) => Tensor.randn(shape, { seed, dtype, device })
  const [q, one, k, v] = [random(1, [1, 130, 8, 128]), random(2, [2, 1, 8, 64]), random(3, [1, 130, 2, 128]), random(4, [1, 130, 2, 128])]
  const [kept, latent] = [random(5, [2, 300, 2, 64]), random(6, [1, 70, 512])]
  using cache = new MlaKvCache({ numPages: 2, pageSize: 64, kvLoraRank: 512, qkRopeHeadDim: 64, dtype, device })
  const sequence = cache.open()
  cache.append([sequence], latent, random(7, [1, 70, 64]))
  using batch = cache.batch([sequence])
  const decoded = (heads: number) => mlaDecode(random(8, [1, 1, heads, 512]), random(9, [1, 1, heads, 64]), cache, batch, { softmaxScale: 0.04 }).out.readSync()
  return {
    prefill: flashAttention(q, k, v, { causal: true }).out.readSync(),
    decode: flashAttention(one, kept, kept).out.readSync(),
    mlaDecode16: decoded(16),
    mlaDecode64: decoded(64),
    linear: linear(random(10, [40, 128]), random(11, [72, 128])).readSync(),
    rmsNorm: rmsNorm(random(12, [3, 64]), random(13, [64])).readSync(),
    rope: rope(random(14, [1, 5, 2, 64]), { interleaved: true }).readSync(),
  }
}

const [actual, expected] = [results('cuda:0'), results('cpu')]
const differences = Object.fromEntries(Object.entries(expected).map(([op, numbers]) => {
  const scale = Array.from(numbers).reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  return [op, Array.from(numbers).reduce((most, value, i) => Math.max(most, Math.abs(value - actual[op]![i]!)), 0) / scale]
}))
const digest = createHash('sha256')
for (const numbers of Object.values(actual)) digest.update(Float32Array.from(numbers))
process.stdout.write(JSON.stringify({ arch: devices.get('cuda').arch, differences, digest: digest.digest('hex') }))
