// Which kernel computes linear on the first CUDA device, what verify says of all of them, and how a hundred runs compare.
import { verifyKernels } from '../../../lib/cli/verify/run'
import { devices, linear, Tensor } from '../../../lib/index'
import { native } from '../../../lib/native'

type DType = 'float32' | 'float16' | 'bfloat16'

devices.get('cuda')

function random(seed: number, shape: readonly number[], dtype: DType = 'float16'): Tensor<DType> {
  return Tensor.randn(shape, { seed, dtype, device: 'cuda' })
}

/** The kernels of linear that ran, or what was thrown. */
function chosen(call: () => Tensor): string {
  const runs = () => new Map(native.kernels().map(({ name, op, runs: count }) => [name, op === 'linear' ? count : 0]))
  const before = runs()
  try {
    call().readSync()
  } catch (error) {
    return `${(error as Error).name} ${(error as Error).message}`
  }
  return [...runs()].flatMap(([name, count]) => (count > (before.get(name) ?? 0) ? [name] : [])).join()
}

function forced(name: string): string {
  try {
    native.forceKernel(name)
  } catch (error) {
    return (error as Error).message
  }
  try {
    return chosen(() => linear(random(1, [24, 64]), random(2, [32, 64])))
  } finally {
    native.forceKernel('')
  }
}

const [x, weight] = [random(1, [24, 64]), random(2, [32, 64])]
const choice = {
  float16: chosen(() => linear(x, weight)),
  bfloat16: chosen(() => linear(random(1, [24, 64], 'bfloat16'), random(2, [32, 64], 'bfloat16'))),
  float32: chosen(() => linear(random(1, [24, 64], 'float32'), random(2, [32, 64], 'float32'))),
  bias: chosen(() => linear(x, weight, { bias: random(3, [32]) })),
  wideBias: chosen(() => linear(x, weight, { bias: random(3, [32], 'float32') })),
  unaligned: chosen(() => linear(random(4, [24, 65]).slice(1, 1, 65), weight)),
  narrowOut: chosen(() => linear(x, random(5, [33, 64]))),
  nothing: chosen(() => linear(random(6, [0, 64]), weight)),
}
const bits = () => linear(x, weight).readSync().join()
const wanted = process.argv.includes('--all')
const first = wanted ? bits() : ''
const answer = {
  choice,
  forced: forced('linear_cublaslt_sm80'),
  verified: wanted ? [...verifyKernels('cuda:0', 'linear')] : [],
  same: wanted && Array.from({ length: 99 }, bits).every((again) => again === first),
}
process.stdout.write(JSON.stringify(answer))
