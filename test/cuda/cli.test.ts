// The commands on a CUDA device, as a user gives them.
import type { BenchReport } from '../../lib/cli/bench/report'
import { isRate } from '../../lib/cli/bench/roofline'
import { terminalReport } from '../../lib/cli/bench/terminal'
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
      .toEqual(native.kernels().filter(({ device }) => device === 'cuda').map(({ name, unusable }) => [name, unusable === '']))
  })

  test('verify runs every kernel of the device in each of its dtypes, and all are right', () => {
    const { ok, results } = json(['verify', '--device', 'cuda']) as {
      ok: boolean
      results: { kernel: string; dtype: string; status: string; cases: number; share: number }[]
    }
    const kernels = native.kernels().filter(({ device }) => device === 'cuda')
    const here = (unusable: string) => (unusable === '' ? 'ok' : 'not on this machine')
    expect(results.map(({ kernel, dtype, status }) => `${kernel} ${dtype} ${status}`))
      .toEqual(kernels.flatMap(({ name, dtypes, unusable }) => dtypes.map((dtype) => `${name} ${dtype} ${here(unusable)}`)))
    for (const { cases, share } of results.filter(({ status }) => status === 'ok')) {
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

  test('bench checks and times every op by the kernels of the device, against its own copy and matrix product', () => {
    const report = json([
      'bench', '--device', 'cuda', '--preset', 'study', '--heads', '4', '--kv-heads', '2', '--head-dim', '32', '--lengths', '40', '--dtype', 'bfloat16',
      '--rounds', '2', '--seconds', '1000', '--peak-matmul', '64', '--peak-copy', '256KiB',
    ]) as BenchReport
    const { machine, settings, cases, calls, notes } = report
    const { name, arch, units, totalMemory } = devices.get('cuda')
    expect(machine).toMatchObject({ device: 'cuda:0', name, arch, threads: units, totalMemory, cacheBytes: null })
    expect(settings).toMatchObject({ device: 'cuda:0', peakMatmul: 64, peakCopy: 2 ** 18 })
    expect(Object.keys(machine.peaks)).toEqual(['matmul', 'copy'])
    for (const rate of [machine.peaks.matmul, machine.peaks.copy]) expect(isRate(rate) && rate.all > 0 && rate.one === undefined).toBe(true)
    expect(notes).toEqual([])
    expect(cases.map(({ op }) => op)).toEqual([
      'prefill', 'decode', 'paged', 'mla-decode', 'mla-prefill', 'mla-step', 'mla-linear', 'rope', 'norm', 'linear', 'merge', 'append', 'quantize',
    ])
    const ours = new Set(native.kernels().filter(({ device }) => device === 'cuda').map((kernel) => kernel.name))
    for (const entry of cases) {
      expect({ op: entry.op, kernels: entry.kernels.length > 0, others: entry.kernels.filter((kernel) => !ours.has(kernel)) })
        .toEqual({ op: entry.op, kernels: true, others: [] })
      expect(entry.errorShare).toBeLessThanOrEqual(1)
      expect(entry.compute).toBe('matmul')
      expect(['compute', 'memory']).toContain(entry.bound)
      expect(entry.time.min).toBeGreaterThan(0)
    }
    for (const time of [...Object.values(calls.enqueue), calls.read]) expect(time).toBeGreaterThan(0)
    const text = terminalReport(report)
    expect(text).toContain(`cuda:0: ${name}, ${arch}, ${units} multiprocessors\n`)
    expect(text).toMatch(/\nbfloat16 matrix product +– +[\d.]+ +[GT]FLOP\/s\n/)
    expect(text).toMatch(/\nmemory copy +– +[\d.]+ +[GT]B\/s\n/)
  })
})
