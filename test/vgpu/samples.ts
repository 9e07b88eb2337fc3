// Compiles and runs the sample kernels on the virtual GPU.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type LaunchReport, readReport } from './report'

export const root = join(__dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'vgpu-'))
let runs = 0

/** The compiler of kernels, or undefined where there is none. */
export function findNvcc(): string | undefined {
  return ['nvcc', '/usr/local/cuda/bin/nvcc'].find((name) => spawnSync(name, ['--version']).status === 0)
}

export function buildVirtualGpu(): void {
  const done = spawnSync(process.execPath, [join(root, 'scripts', 'vgpu.js'), '--build'], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(done.stderr)
}

export function compile(nvcc: string, source: string, arch = 'compute_80'): string {
  const output = join(folder, 'kernels.ptx')
  const args = ['-std=c++20', '-ptx', `-arch=${arch}`, '-lineinfo', join(root, source), '-o', output]
  const done = spawnSync(nvcc, args, { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(done.stderr)
  return readFileSync(output, 'utf8')
}

export interface ProgramRun {
  /** 0: right, 1: wrong numbers, 2: an error of the driver. */
  status: number | null
  output: string
}

/** A program of tests/. */
export function runProgram(name: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): ProgramRun {
  const done = spawnSync(join(root, 'build', 'vgpu', name), args, { encoding: 'utf8', timeout: 60_000, env: { ...process.env, ...env } })
  return { status: done.status, output: done.stdout + done.stderr }
}

export interface SampleRun extends ProgramRun {
  launches: LaunchReport[]
}

/** `program` runs the kernels of one source; `more` are its further arguments. */
export function runSample(ptx: string, kernel: string, env: Record<string, string> = {}, program = 'run_sample', more: readonly string[] = []): SampleRun {
  const [file, report] = [join(folder, `${++runs}.ptx`), join(folder, `${runs}.json`)]
  writeFileSync(file, ptx)
  const done = runProgram(program, [file, kernel, ...more], { VGPU_REPORT: report, ...env })
  return { ...done, launches: readReport(report) }
}
