/** Two devices side by side; VGPU_DEVICES makes them, VGPU_FAULT breaks one (docs/virtual-gpu.md). */
import { DeviceError, devices, flashAttention, mlaDecode, MlaKvCache, Tensor, type DeviceId } from '../../../lib/index'

const make = (device: DeviceId) => Tensor.randn([1, 40, 4, 64], { seed: 1, dtype: 'float16', device })
const thrownBy = (work: () => unknown): string => {
  try {
    work()
    return ''
  } catch (error) {
    return `${(error as Error).name} ${(error as Error).message}`
  }
}

async function main(): Promise<unknown> {
  const listed = devices.list().map(({ id }) => id)
  const [a, b] = [make('cuda:0'), make('cuda:1')]
  const bits = async (x: Tensor) => Buffer.from((await x.readBits() as Uint16Array).buffer).toString('base64')
  const same = await bits(flashAttention(a, a, a).out) === await bits(flashAttention(b, b, b).out)
  const moved = a.to('cuda:1')
  const arrived = moved.device === 'cuda:1' && await bits(moved) === await bits(b) && await bits(moved.to('cuda:0').to('cpu')) === await bits(a)
  using cache = new MlaKvCache({ numPages: 2, pageSize: 16, kvLoraRank: 64, qkRopeHeadDim: 16, dtype: 'float16', device: 'cuda:1' })
  const sequence = cache.open()
  const rows = (width: number) => Tensor.randn([1, 20, width], { seed: width, dtype: 'float16', device: 'cuda:1' })
  cache.append([sequence], rows(64), rows(16))
  const query = (width: number) => Tensor.randn([1, 1, 4, width], { seed: width, dtype: 'float16', device: 'cuda:1' })
  const decoded = (await mlaDecode(query(64), query(16), cache, cache.batch([sequence]), { softmaxScale: 0.1 }).out.read()).every(Number.isFinite)
  const memory = [devices.memory('cuda:0').tensors > 0, devices.memory('cuda:1').tensors > 0]
  const mixed = thrownBy(() => flashAttention(a, b, b))
  const beyond = thrownBy(() => make('cuda:2'))
  // A fault on one: the other goes on.
  const f32 = (device: DeviceId) => Tensor.randn([1, 2, 1, 8], { seed: 1, device })
  const [x, y] = [f32('cuda:1'), f32('cuda:0')]
  const fault: unknown = await flashAttention(x, x, x).out.read().catch((error: unknown) => error)
  return {
    listed, same, arrived, decoded, memory, mixed, beyond,
    fault: fault instanceof DeviceError ? [fault.device, fault.status] : String(fault),
    lost: thrownBy(() => x.contiguous()), left: devices.list().map(({ id }) => id), other: (await y.slice(1, 0, 1).read()).length / 4,
  }
}

void main().then((answer) => { console.log(JSON.stringify(answer)) })
