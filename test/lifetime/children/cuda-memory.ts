/** What running out of device memory in the middle of a call does; VGPU_MEMORY makes the device small (docs/virtual-gpu.md). */
import { devices, flashAttention, ResourceError, Tensor } from '../../../lib/index'
import { settledMemory } from '../../support/memory'

const device = 'cuda:0'

interface Refused {
  readonly message: string
  readonly requested: number
  readonly available: number
}

/** Runs a call with so many bytes left on the device. What it reports, whether it left anything behind, and its result with memory again. */
async function shortOf(left: number, call: () => Tensor): Promise<{ error?: Refused; leaked: number; then: number }> {
  let error: Refused | undefined
  const filler = Tensor.empty([Math.floor((devices.get(device).freeMemory - left) / 4)], { device })
  const before = await settledMemory(device)
  try {
    call().dispose()
  } catch (thrown) {
    if (!(thrown instanceof ResourceError)) throw thrown
    error = { message: thrown.message, requested: thrown.requested, available: thrown.available }
  }
  const after = await settledMemory(device)
  filler.dispose()
  using out = call()
  return { ...(error && { error }), leaked: after.bytes - before.bytes, then: (await out.read()).length }
}

async function main(): Promise<unknown> {
  using x = Tensor.randn([1, 64, 4, 8], { seed: 1, device })
  using q = Tensor.randn([1, 1, 8, 128], { seed: 2, dtype: 'bfloat16', device })
  using k = Tensor.randn([1, 4096, 1, 128], { seed: 3, dtype: 'bfloat16', device })
  // out takes 8 KiB, lse 1 KiB; the decode's out takes 2 KiB, the states of its 16 splits 64.5 KiB.
  const lse = await shortOf(8704, () => {
    const result = flashAttention(x, x, x, { returnLse: true })
    result.lse.dispose()
    return result.out
  })
  const workspace = await shortOf(32768, () => flashAttention(q, k, k).out)
  const whole = await shortOf(1024, () => Tensor.empty([2 ** 20], { device }))
  return { lse, workspace, whole, cpu: (await Tensor.from([1, 1], [2]).read()).join() }
}

void main().then((answer) => { console.log(JSON.stringify(answer)) })
