'use strict'
// The steady decode loop that scripts/bench-callgrind.js looks at: each op some times for what happens once, then, after the
// number of threads was set, steps that count. On one thread: all of a step runs on the queue's thread then.
const { MlaKvCache, PagedKvCache, Tensor, devices, flashAttention, linear, mlaDecode, pagedAttention, rmsNorm, rope } = require('../dist/index.js')

const [warmUp, steps] = [8, Number(process.argv[2])]
const [heads, kvHeads, dim, length, rank, ropeDim] = [8, 2, 64, 300, 128, 32]
let seed = 0

function loop(dtype) {
  const normal = (...shape) => Tensor.randn(shape, { dtype, seed: ++seed })
  const [q, k, v, out] = [normal(1, 1, heads, dim), normal(1, length, kvHeads, dim), normal(1, length, kvHeads, dim), normal(1, 1, heads, dim)]
  const cache = new PagedKvCache({ numPages: 32, numKvHeads: kvHeads, headDimQk: dim, dtype })
  const sequence = cache.open()
  cache.append([sequence], k, v)
  const latents = new MlaKvCache({ numPages: 8, kvLoraRank: rank, qkRopeHeadDim: ropeDim, dtype })
  const latentSequence = latents.open()
  latents.append([latentSequence], normal(1, length, rank), normal(1, length, ropeDim))
  const [batch, latentBatch] = [cache.batch([sequence]), latents.batch([latentSequence])]
  const [qNope, qPe, mlaOut] = [normal(1, 1, heads, rank), normal(1, 1, heads, ropeDim), normal(1, 1, heads, rank)]
  const [x, weight, y, scale] = [normal(1, heads * dim), normal(heads * dim, heads * dim), normal(1, heads * dim), normal(heads * dim)]
  return () => {
    rmsNorm(x, scale, { out: y })
    linear(x, weight, { out: y })
    rope(q, { interleaved: false }, { out: q })
    flashAttention(q, k, v, { out })
    pagedAttention(q, cache, batch, { out })
    mlaDecode(qNope, qPe, latents, latentBatch, { softmaxScale: 0.1, out: mlaOut })
  }
}

async function main() {
  devices.setNumThreads(1)
  const loops = ['float32', 'bfloat16'].map(loop)
  for (let i = 0; i < warmUp; ++i) for (const step of loops) step()
  await devices.synchronize()
  devices.setNumThreads(1) // counting begins anew here
  for (let i = 0; i < steps; ++i) for (const step of loops) step()
  await devices.synchronize()
}

main()
