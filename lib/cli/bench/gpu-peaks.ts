import { performance } from 'node:perf_hooks'
import { type DeviceInfo, devices } from '../../devices'
import { linear } from '../../ops/linear'
import { type FloatTensor, Tensor } from '../../tensor/tensor'
import { CommandError } from '../command-error'
import { judge } from '../verify/case'
import { sumRounding, unitRoundoff } from '../verify/rounding'
import { readPart } from './case'
import type { Peaks } from './report'
import type { BenchSettings } from './request'

const samples = 5
/** Enqueued before they are waited for. */
const mostCalls = 1000

const now = () => performance.now() / 1000

/** Sizes of what is measured on a GPU: large ones, but for a virtual GPU, which computes slowly. */
export type GpuSizes = Pick<BenchSettings, 'peakMatmul' | 'peakCopy'>

/**
 * A GPU's copy bandwidth and its rate of bfloat16 matrix products, in about `seconds`, by this package's own copy and linear: there is
 * nothing below them here that could tell more. At least one sample each, whatever that takes.
 */
export async function measureGpuPeaks({ id: device }: DeviceInfo, seconds: number, { peakMatmul, peakCopy }: GpuSizes): Promise<Peaks> {
  const began = now()
  using from = Tensor.zeros([Math.ceil(peakCopy / 4)], { device })
  const copy = await best(device, began + seconds / 2, () => { from.contiguous().dispose() })
  const made = { device, dtype: 'bfloat16' } as const
  using x = Tensor.randn([peakMatmul, peakMatmul], { ...made, seed: 1 })
  using weight = Tensor.randn([peakMatmul, peakMatmul], { ...made, seed: 2 })
  using out = Tensor.empty([peakMatmul, peakMatmul], made)
  linear(x, weight, { out })
  checkCorner(x, weight, out)
  const matmul = await best(device, began + seconds, () => { linear(x, weight, { out }) })
  // Copied bytes are read and written.
  return { matmul: { all: (2 * peakMatmul ** 3) / matmul }, copy: { all: (2 * from.byteLength) / copy } }
}

/** The last element, by a float64 loop. */
function checkCorner(x: FloatTensor, weight: FloatTensor, out: FloatTensor): void {
  const width = x.shape[1] ?? NaN
  const last = [[width - 1, width]] as const
  const [a, b] = [readPart(x, last), readPart(weight, last)]
  const [expected, size] = a.reduce<readonly [number, number]>(([sum, most], value, i) => {
    const product = value * (b[i] ?? NaN)
    return [sum + product, most + Math.abs(product)]
  }, [0, 0])
  const bound = sumRounding(width) * size + 2 * unitRoundoff('bfloat16') * Math.abs(expected)
  const { failure } = judge([{ what: 'the last element of a matrix product', actual: readPart(out, [...last, ...last]), expected: [expected], bound }])
  if (failure !== undefined) throw new CommandError(`measuring the machine (matmul) failed: ${failure}`)
}

/** The shortest time of a call, as the mean of calls enqueued together. */
async function best(device: DeviceInfo['id'], until: number, call: () => void): Promise<number> {
  const sample = async (calls: number) => {
    const began = now()
    for (let i = 0; i < calls; ++i) call()
    await devices.synchronize(device)
    return (now() - began) / calls
  }
  let least = await sample(1)
  if (now() < until) least = await sample(1) // the first one paid for memory and code that nobody touched yet
  const calls = Math.max(1, Math.min(mostCalls, Math.floor((until - now()) / samples / least)))
  for (let i = 0; i < samples && now() < until; ++i) least = Math.min(least, await sample(calls))
  return least
}
