import { cpus, totalmem } from 'node:os'
import { devices, kernels, linear, Tensor } from '../../lib/index'

describe('devices', () => {
  const initialThreads = devices.get('cpu').units
  afterEach(() => devices.setNumThreads(initialThreads))

  it('lists the CPU first, with facts that hold', () => {
    const cpu = devices.list()[0]!
    expect(cpu).toMatchObject({ id: 'cpu', type: 'cpu' })
    expect(devices.get('cpu')).toEqual({ ...cpu, freeMemory: expect.any(Number) as number })
    expect(['avx512bf16', 'avx512', 'avx2', 'neon', 'baseline']).toContain(cpu.arch)
    expect(cpu.name.length).toBeGreaterThan(0)
    expect(cpu.units).toBeGreaterThanOrEqual(1)
    expect(cpu.units).toBeLessThanOrEqual(cpus().length)
    expect(cpu.totalMemory).toBeGreaterThan(2 ** 28)
    expect(cpu.totalMemory).toBeLessThanOrEqual(totalmem())
    expect(cpu.freeMemory).toBeGreaterThan(0)
    expect(cpu.freeMemory).toBeLessThanOrEqual(cpu.totalMemory)
  })

  it('says why a kind of device cannot be used, and nothing where it can', () => {
    expect(devices.unavailableReason('cpu')).toBeUndefined()
    const listed = devices.list().some((device) => device.type === 'cuda')
    const reason = devices.unavailableReason('cuda')
    if (listed) expect(reason).toBeUndefined()
    else expect(reason).toMatch(/CUDA|libcuda/)
  })

  it('sets the threads that the CPU computes with', () => {
    for (const count of [1, 3, 2]) {
      devices.setNumThreads(count)
      expect(devices.get('cpu').units).toBe(count)
      expect(Tensor.randn([1000], { seed: 1 }).readSync()).toHaveLength(1000)
    }
  })

  it('counts live tensors, bytes and the largest of both', () => {
    const before = devices.memory()
    const tensor = Tensor.zeros([256, 1024])
    const during = devices.memory()
    expect([during.tensors - before.tensors, during.bytes - before.bytes]).toEqual([1, 2 ** 20])
    expect(during.peakBytes).toBeGreaterThanOrEqual(during.bytes)
    tensor.dispose()
    const after = devices.memory()
    expect([after.tensors, after.bytes]).toEqual([before.tensors, before.bytes])
    expect(after.peakBytes).toBeGreaterThanOrEqual(during.bytes)
    expect(devices.memory('cpu')).toEqual(after)
  })

  it('resolves synchronize when all that was enqueued has run', async () => {
    const host = new Float32Array(256 * 256)
    const ones = Tensor.from(new Float32Array(256 * 256).fill(1), [256, 256])
    for (const wait of [() => devices.synchronize(), () => devices.synchronize('cpu')]) {
      host.fill(0)
      linear(ones, ones, { out: Tensor.wrap(host, [256, 256], 'float32') })
      await wait()
      expect(host.every((value) => value === 256)).toBe(true)
    }
  })
})

describe('kernels', () => {
  it('describes each kernel once, with words that the API knows', () => {
    const rows = kernels()
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length)
    expect(rows.length).toBeGreaterThan(5)
    for (const row of rows) {
      expect(['cpu', 'cuda']).toContain(row.device)
      expect(row.dtypes.length).toBeGreaterThan(0)
      expect(row.headDims).toMatch(/^(any|-|\d+-\d+|[\d,/]+)$/)
      expect(Object.keys(row).sort()).toEqual(['arch', 'device', 'dtypes', 'headDims', 'name', 'op'])
    }
    const ops = new Set(rows.map((row) => row.op))
    for (const op of ['attention', 'mlaDecode', 'mergeStates', 'rope', 'rmsNorm', 'linear']) expect(ops).toContain(op)
  })
})
