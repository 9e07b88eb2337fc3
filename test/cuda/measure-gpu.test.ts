// The script that measures a GPU in one call, tried at tiny shapes.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { native } from '../../lib/native'
import { gpuTargets } from '../../lib/cli/bench/targets/gpu-list'
import type { TargetsReport } from '../../lib/cli/bench/targets/report'
import { targetRows } from '../../lib/cli/bench/targets/rows'
import { runCli } from '../cli/run-cli'
import { testDevices } from '../support/devices'

const withDevice = testDevices.some((id) => id !== 'cpu') ? describe : describe.skip
const folder = mkdtempSync(join(tmpdir(), 'measure-gpu-'))
afterAll(() => { rmSync(folder, { recursive: true }) })

/** A program in a folder of its own. */
function program(name: string, text: string): string {
  const bin = mkdtempSync(join(folder, 'bin-'))
  writeFileSync(join(bin, name), text)
  chmodSync(join(bin, name), 0o755)
  return bin
}

withDevice('measuring a GPU', () => {
  const scale = '4096'

  test('targets checks and times every shape by kernels of the device', () => {
    const { status, stdout } = runCli(['targets', '--device', 'cuda', '--scale', scale, '--rounds', '1', '--seconds', '30', '--json'])
    expect(status).toBe(0)
    const report = JSON.parse(stdout) as TargetsReport
    expect(report.scale).toBe(Number(scale))
    expect(report.notes).toEqual([`lengths over ${scale}, fewer heads and sequences (--scale): a trial of the steps, no result.`])
    expect(report.targets.map(({ name }) => name)).toEqual(gpuTargets.map(({ name }) => `${name} (over ${scale})`))
    const ours = new Set(native.kernels().filter(({ device }) => device === 'cuda').map(({ name }) => name))
    report.targets.forEach(({ name, kernels, time, met, measured }, at) => {
      expect({ name, others: kernels.filter((kernel) => !ours.has(kernel)), any: kernels.length > 0, timed: time.median > 0 })
        .toEqual({ name, others: [], any: true, timed: true })
      const beside = gpuTargets[at]!.goal.kind === 'cudnn'
      expect([name, met === null, measured.includes('no --peer torch')]).toEqual([name, beside, beside])
    })
    expect(targetRows(report)).toHaveLength(gpuTargets.length)
  }, 300_000)

  test('a failing step stops no other, ends with status 1, and a trial saves nothing', () => {
    const out = join(folder, 'out')
    const sanitizer = join(program('sanitizer', '#!/bin/sh\ntest "$1" = --version && exit 0\necho "$@"\nexit 9\n'), 'sanitizer')
    const noTorch = program('python3', '#!/bin/sh\nexit 1\n')
    const { status, stdout } = spawnSync(
      process.execPath, [join(__dirname, '..', '..', 'scripts', 'measure-gpu.js'), '--scale', scale, '--seconds', '900', '--out', out, '--sanitizer', sanitizer],
      { encoding: 'utf8', env: { ...process.env, PATH: `${noTorch}:${process.env['PATH'] ?? ''}` } },
    )
    const rows = stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 2))
    expect(rows.slice(0, 4)).toEqual([['tests', 'ok'], ['memcheck', 'status 9'], ['targets, without PyTorch', 'ok'], ['bench', 'ok']])
    expect(status).toBe(1)
    expect(stdout).toContain(`A trial at lengths over ${scale}: nothing was saved, nothing here is a result.`)
    expect(existsSync(join(out, 'bench'))).toBe(false)
    expect(readFileSync(join(out, 'memcheck.log'), 'utf8')).toMatch(/^--tool memcheck --error-exitcode 9 .*main\.js bench prefill decode paged mla-decode .* --device cuda\n$/)
    expect(readFileSync(join(out, 'targets.log'), 'utf8')).toContain('a trial of the steps, no result')
  }, 300_000)
})
