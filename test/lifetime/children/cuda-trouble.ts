/** What the package says of a CUDA device in trouble; the environment makes the trouble (docs/virtual-gpu.md). */
import { DeviceError, devices, flashAttention, Tensor } from '../../../lib/index'

async function main(): Promise<Record<string, string>> {
  const reason = devices.unavailableReason('cuda') ?? ''
  const cpu = (await Tensor.from([1, 1], [2]).read()).join()
  if (reason !== '') {
    try {
      Tensor.zeros([1], { device: 'cuda' })
      return { reason, cpu, use: 'it worked' }
    } catch (error) {
      const { name, code, message } = error as DeviceError
      return { reason, cpu, use: `${name} ${code} ${message}` }
    }
  }
  const q = Tensor.randn([1, 2, 1, 8], { seed: 1, device: 'cuda' })
  const caught = async (work: () => Promise<unknown>) => {
    const error: unknown = await work().then(() => undefined, (thrown: unknown) => thrown)
    return error instanceof DeviceError ? error : undefined
  }
  const first = await caught(async () => flashAttention(q, q, q).out.read())
  const later = await caught(() => Promise.resolve().then(() => Tensor.zeros([1], { device: 'cuda' })))
  q.dispose()
  return {
    reason, failure: first?.message ?? '', status: first?.status ?? '', later: later?.message ?? '',
    devices: devices.list().map(({ id }) => id).join(),
    cpu: (await Tensor.from([1, 1], [2]).read()).join(),
  }
}

void main().then((answer) => { console.log(JSON.stringify(answer)) })
