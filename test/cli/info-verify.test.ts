import { native } from '../../lib/native'
import { judge, type Case } from '../../lib/cli/verify/case'
import { verifyKernel } from '../../lib/cli/verify/run'
import { roundTo } from '../../lib/cli/verify/rounding'
import { devices, rmsNorm, Tensor } from '../../lib/index'
import { runCli } from './run-cli'

describe('info', () => {
  test('--json holds the device, every kernel and why CUDA cannot be used', () => {
    const { status, stdout, stderr } = runCli(['info', '--json'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const info = JSON.parse(stdout) as Record<string, unknown>
    const { arch, name, id } = devices.get('cpu')
    expect(info).toMatchObject({
      package: { name: 'node-flash-attention' }, node: process.versions.node, devices: [expect.objectContaining({ id, name, arch })],
      cuda: { usable: false, reason: devices.unavailableReason('cuda') },
    })
    expect((info['kernels'] as { name: string; usable: boolean }[]).map((kernel) => [kernel.name, kernel.usable]))
      .toEqual(native.kernels().map((kernel) => [kernel.name, kernel.unusable === '']))
  })

  test('as text names each of them too', () => {
    const { status, stdout } = runCli(['info'])
    expect(status).toBe(0)
    for (const kernel of native.kernels()) expect(stdout).toMatch(new RegExp(` ${kernel.name} .*(yes|no: .+)\n`))
    expect(stdout).toContain(`cuda: not usable: ${devices.unavailableReason('cuda') ?? ''}`)
  })
})

describe('verify', () => {
  interface Result { readonly kernel: string; readonly dtype: string; readonly status: string; readonly cases: number; readonly maxError: number; readonly share: number }

  test('every kernel and dtype that this machine can run computes what float64 does', () => {
    const { status, stdout, stderr } = runCli(['verify', '--json'])
    const { ok, results } = JSON.parse(stdout) as { ok: boolean; results: Result[] }
    expect(results.filter((result) => result.status === 'failed')).toEqual([])
    expect({ status, stderr, ok }).toEqual({ status: 0, stderr: '', ok: true })
    const expected = native.kernels().flatMap((kernel) => kernel.dtypes.map((dtype) => `${kernel.name} ${dtype} ${kernel.unusable === '' ? 'ok' : 'not on this machine'}`))
    expect(results.map((result) => `${result.kernel} ${result.dtype} ${result.status}`)).toEqual(expected)
    for (const result of results.filter((entry) => entry.status === 'ok')) {
      expect(result.cases).toBeGreaterThan(0)
      expect(result.share).toBeLessThanOrEqual(1)
    }
  })

  test('as text has a line for each, and a sum', () => {
    const { status, stdout } = runCli(['verify', '--op', 'rmsNorm'])
    const lines = stdout.trimEnd().split('\n')
    const kernels = native.kernels().filter((kernel) => kernel.op === 'rmsNorm')
    expect(status).toBe(0)
    expect(lines.filter((line) => line.startsWith('rms_norm_'))).toHaveLength(kernels.reduce((sum, kernel) => sum + kernel.dtypes.length, 0))
    expect(lines.at(-1)).toMatch(/^\d+ ok, 0 failed, \d+ not on this machine/)
  })

  const usable = native.kernels().find((kernel) => kernel.op === 'rmsNorm' && kernel.unusable === '')!
  const wrong: Case = {
    name: 'a wrong expectation',
    run: () => {
      using x = Tensor.from([1, 1], [1, 2])
      using weight = Tensor.from([1, 2], [2])
      using y = rmsNorm(x, weight, { eps: 1e-30 })
      return [{ what: 'y', actual: y.readSync(), expected: [1, 2.5], bound: 0.25 }]
    },
  }

  test('a number beyond its bound fails, and so does a case that another kernel answered', () => {
    const result = verifyKernel(usable, 'float32', [wrong])
    expect(result).toMatchObject({ status: 'failed', reason: 'a wrong expectation: y[1]: 2, expected 2.5 within 2.5e-1', maxError: 0.5, share: 2 })
    const right: Case = { name: 'another op', run: () => [{ what: 'y', actual: [1], expected: [1], bound: 0 }] }
    expect(verifyKernel(usable, 'float32', [right])).toMatchObject({ status: 'failed', reason: 'another op: another kernel answered' })
  })

  test('an op without cases fails, and a kernel that refuses all of them', () => {
    expect(verifyKernel({ ...usable, op: 'newOp' }, 'float32', [])).toMatchObject({ status: 'failed', reason: 'verify has no case for the op newOp' })
    expect(verifyKernel({ ...usable, unusable: 'needs what is not here' }, 'float32', [wrong]))
      .toMatchObject({ status: 'not on this machine', reason: 'needs what is not here', cases: 0 })
  })

  test('every kernel may run again afterwards', () => {
    expect(() => Tensor.randn([2]).readSync()).not.toThrow()
  })

  test('positions of NaN and infinities must agree', () => {
    const nan = (actual: number, expected: number) => judge([{ what: 'y', actual: [actual], expected: [expected], bound: 1 }]).failure
    expect(nan(NaN, NaN)).toBeUndefined()
    expect(nan(-Infinity, -Infinity)).toBeUndefined()
    expect(nan(NaN, 1)).toBe('y[0]: NaN, expected 1 within 1.0e+0')
    expect(nan(1, NaN)).toBe('y[0]: 1, expected NaN within 1.0e+0')
    expect(nan(Infinity, -Infinity)).toBe('y[0]: Infinity, expected -Infinity within 1.0e+0')
    expect(judge([{ what: 'y', actual: [], expected: [1], bound: 1 }]).failure).toBe('y: 0 numbers, expected 1')
  })

  test('its own rounding, against numbers known by hand', () => {
    expect(roundTo('float16', 1 + 2 ** -11)).toBe(1)
    expect(roundTo('float16', 1 + 3 * 2 ** -11)).toBe(1 + 2 ** -9)
    expect(roundTo('float16', 1.4 * 2 ** -24)).toBe(2 ** -24)
    expect(roundTo('bfloat16', 257)).toBe(256)
    expect(roundTo('bfloat16', 259)).toBe(260)
    expect(roundTo('float8_e4m3', 17)).toBe(16)
    expect(roundTo('float8_e4m3', -19)).toBe(-20)
    expect(roundTo('float32', 0.1)).toBe(Math.fround(0.1))
  })
})
