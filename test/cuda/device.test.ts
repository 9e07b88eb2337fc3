import { devices, DeviceError, flashAttention, kernels, ResourceError, Tensor } from '../../lib/index'
import { childAnswer } from '../support/child'
import { testDevices } from '../support/devices'
import { settledMemory } from '../support/memory'

const cuda = testDevices.find((id) => id !== 'cpu')
/** Without a GPU, real or virtual, there is nothing more to test: `npm run test:cuda` brings one. */
const withDevice = (name: string, tests: () => void): void => {
  if (cuda !== undefined) describe(name, tests)
}

test('a device that is not there is named with its reason', () => {
  if (cuda !== undefined) {
    expect(devices.get('cuda').id).toBe('cuda:0')
    return
  }
  expect(devices.unavailableReason('cuda')).toMatch(/built without CUDA|no CUDA driver|too old|no CUDA device|compute capability/)
  expect(() => Tensor.zeros([1], { device: 'cuda' })).toThrow(DeviceError)
})

withDevice('device cuda', () => {
  it('names itself, and refuses one that is not there', () => {
    expect(devices.get('cuda')).toMatchObject({ id: 'cuda:0', type: 'cuda' })
    expect(() => Tensor.zeros([1], { device: 'cuda:63' })).toThrow(/^cuda:63 cannot be used: there (is one CUDA device|are \d+ CUDA devices), numbered from 0$/)
  })

  it('moves tensors there and back, bit by bit', async () => {
    const host = Tensor.randn([3, 5, 7], { seed: 4, dtype: 'bfloat16' })
    const there = host.transpose(0, 2).to('cuda')
    expect(there.device).toBe('cuda:0')
    expect(await there.readBits()).toEqual(await host.transpose(0, 2).contiguous().readBits())
    expect(await there.to('cpu').readBits()).toEqual(await there.readBits())
    expect(await Tensor.randn([3, 5, 7], { seed: 4, dtype: 'bfloat16', device: 'cuda' }).readBits()).toEqual(await host.readBits())
  })

  it('refuses tensors of two devices in one call', () => {
    const [q, k] = [Tensor.zeros([1, 1, 1, 8], { device: 'cuda' }), Tensor.zeros([1, 1, 1, 8])]
    expect(() => flashAttention(q, k, k)).toThrow('k')
  })

  it('gives memory back', async () => {
    const before = await settledMemory('cuda')
    for (let i = 0; i < 20; ++i) {
      using q = Tensor.randn([1, 8, 2, 16], { seed: i, device: 'cuda' })
      using out = flashAttention(q, q, q).out
      expect((await out.read()).length).toBe(256)
    }
    expect(await settledMemory('cuda')).toEqual(before)
  })

  it('has a reason and no leak when memory runs out, and goes on', async () => {
    const before = devices.memory('cuda').bytes
    expect(() => Tensor.empty([2 ** 40], { device: 'cuda' })).toThrow(ResourceError)
    expect(devices.memory('cuda').bytes).toBe(before)
    using x = Tensor.from([1, 2], [2], { device: 'cuda' })
    expect([...(await x.read())]).toEqual([1, 2])
  })

  it('lists its kernels', () => {
    const ops = new Set(kernels().filter((kernel) => kernel.device === 'cuda').map((kernel) => kernel.op))
    for (const op of ['attention', 'mlaDecode', 'mergeStates', 'rope', 'rmsNorm', 'linear', 'copy']) expect(ops).toContain(op)
  })
})

/** Only the virtual GPU makes trouble when asked. */
const onVirtualGpu = cuda !== undefined && devices.get('cuda').name.startsWith('Virtual GPU')

withDevice('a device in trouble', () => {
  if (!onVirtualGpu) return
  const inChild = <T = Record<string, string>>(env: Record<string, string>, script = 'cuda-trouble.ts') => childAnswer<T>(script, [], [], env)

  it.each<[Record<string, string>, RegExp, string?]>([
    [{ VGPU_DEVICES: '0' }, /^there is no CUDA device$/],
    [{ VGPU_DRIVER_VERSION: '12040' }, /^the CUDA driver is too old: it is for CUDA 12\.4, these kernels need 13\.0 or newer$/],
    [{ VGPU_CC: '75' }, /compute capability 7\.5, these kernels need 8\.0 \(Ampere\) or newer$/, 'UnsupportedError UNSUPPORTED'],
    [{ LD_LIBRARY_PATH: '' }, /^no CUDA driver: libcuda\.so\.1: /],
  ])('%j is told precisely', async (env, reason, error = 'DeviceError DEVICE_UNAVAILABLE') => {
    const answer = await inChild(env)
    expect(answer.reason).toMatch(reason)
    expect(answer.use).toBe(`${error} cuda cannot be used: ${answer.reason}`)
    expect(answer.cpu).toBe('1,1')
  })

  it('a kernel fault loses the device, with its name; the CPU goes on', async () => {
    const answer = await inChild({ VGPU_FAULT: 'attention_plain_f32' })
    expect(answer).toMatchObject({
      reason: '', failure: 'cuda:0: enqueued work failed: cuda:0: work on the device failed: CUDA_ERROR_ILLEGAL_ADDRESS', status: 'CUDA_ERROR_ILLEGAL_ADDRESS',
    })
    expect(answer.later).toBe('cuda:0 is lost until this process ends: work on the device failed: CUDA_ERROR_ILLEGAL_ADDRESS')
    expect(answer.devices).toBe('cpu')
    expect(answer.cpu).toBe('1,1')
  })

  it('memory that runs out amid a call is a ResourceError; nothing leaks, and with memory the call works', async () => {
    interface Short { error?: { message: string; requested: number; available: number }; leaked: number; then: number }
    const answer = await inChild<Record<'lse' | 'workspace' | 'whole', Short> & { cpu: string }>({ VGPU_MEMORY: '8388608' }, 'cuda-memory.ts')
    for (const { error, leaked } of [answer.lse, answer.workspace, answer.whole]) {
      expect(error?.message).toBe(`cuda:0: out of memory: ${error?.requested} bytes requested, ${error?.available} available`)
      expect(error?.requested).toBeGreaterThan(error?.available ?? Infinity)
      expect(leaked).toBe(0)
    }
    expect([answer.lse.then, answer.workspace.then, answer.whole.then]).toEqual([2048, 1024, 2 ** 20])
    expect(answer.cpu).toBe('1,1')
  })

  it('two devices have memory, work and faults of their own', async () => {
    expect(await inChild<unknown>({ VGPU_DEVICES: '2', VGPU_FAULT: 'attention_plain_f32' }, 'cuda-two.ts')).toEqual({
      listed: ['cpu', 'cuda:0', 'cuda:1'], same: true, arrived: true, decoded: true, memory: [true, true],
      mixed: 'ArgumentError k: expected the device of q (cuda:0), received cuda:1',
      beyond: 'DeviceError cuda:2 cannot be used: there are 2 CUDA devices, numbered from 0',
      fault: ['cuda:1', 'CUDA_ERROR_ILLEGAL_ADDRESS'],
      lost: 'DeviceError cuda:1 is lost until this process ends: work on the device failed: CUDA_ERROR_ILLEGAL_ADDRESS',
      left: ['cpu', 'cuda:0'], other: 2,
    })
  })
})
