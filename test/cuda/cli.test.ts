// The commands on a CUDA device, as a user gives them.
import type { CompareReport } from '../../lib/cli/compare/report'
import { devices } from '../../lib/index'
import { native } from '../../lib/native'
import { runCli } from '../cli/run-cli'
import { testDevices } from '../support/devices'

const withDevice = testDevices.some((id) => id !== 'cpu') ? describe : describe.skip

withDevice('commands with --device cuda', () => {
  function json(args: readonly string[]): unknown {
    const { status, stdout, stderr } = runCli([...args, '--json'])
    expect({ status, stderr: status === 0 ? '' : stderr, stdout: status === 0 ? '' : stdout }).toEqual({ status: 0, stderr: '', stdout: '' })
    return JSON.parse(stdout)
  }

  test('info lists the device and its kernels', () => {
    const info = json(['info']) as { devices: { id: string; name: string }[]; cuda: unknown; kernels: { name: string; device: string; usable: boolean }[] }
    expect(info.devices).toContainEqual(expect.objectContaining({ id: 'cuda:0', name: devices.get('cuda').name }))
    expect(info.cuda).toEqual({ usable: true })
    expect(info.kernels.filter(({ device }) => device === 'cuda').map(({ name, usable }) => [name, usable]))
      .toEqual(native.kernels().filter(({ device }) => device === 'cuda').map(({ name }) => [name, true]))
  })

  test('verify runs every kernel of the device in each of its dtypes, and all are right', () => {
    const { ok, results } = json(['verify', '--device', 'cuda']) as {
      ok: boolean
      results: { kernel: string; dtype: string; status: string; cases: number; share: number }[]
    }
    const kernels = native.kernels().filter(({ device }) => device === 'cuda')
    expect(results.map(({ kernel, dtype, status }) => `${kernel} ${dtype} ${status}`))
      .toEqual(kernels.flatMap(({ name, dtypes }) => dtypes.map((dtype) => `${name} ${dtype} ok`)))
    for (const { cases, share } of results) {
      expect(cases).toBeGreaterThan(0)
      expect(share).toBeLessThanOrEqual(1)
    }
    expect(ok).toBe(true)
  })

  test('verify says what is wrong with a device', () => {
    const [beyond, unknown] = [runCli(['verify', '--device', 'cuda:63']), runCli(['verify', '--device', 'gpu'])]
    expect([beyond.status, unknown.status]).toEqual([1, 2])
    expect(beyond.stderr).toMatch(/^error: cuda:63 cannot be used: there (is|are) .*, numbered from 0\n$/)
    expect(unknown.stderr).toBe("error: --device: expected 'cpu', 'cuda' or 'cuda:<n>', received 'gpu'\n")
  })

  test('compare measures the three layers on the device', () => {
    const report = json([
      'compare', '--device', 'cuda', '--hidden', '64', '--heads', '4', '--lengths', '16', '--prefill', '12', '--rounds', '2', '--seconds', '20',
      '--dtype', 'float16',
    ]) as CompareReport
    expect(report.machine).toMatchObject({ device: 'cuda:0', name: devices.get('cuda').name })
    for (const { measured } of report.mechanisms) {
      expect(measured?.prefill?.median).toBeGreaterThan(0)
      expect(measured?.decode.map(({ kvLen }) => kvLen)).toEqual([16])
    }
  })
})
