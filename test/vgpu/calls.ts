// Calls of the package on the virtual GPU: scripts of children/ in a process of their own, and what they launched.
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { registerFile } from '../support/child'
import { type LaunchReport, readReport } from './report'
import { buildVirtualGpu, findNvcc, root } from './samples'

const folder = mkdtempSync(join(tmpdir(), 'vgpu-'))
let runs = 0

export interface Call {
  stdout: string
  launches: LaunchReport[]
}

/** Throws where the script fails, unless VGPU_REPLACE breaks a kernel: then the launches say how. */
export function call(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Call {
  const report = join(folder, `${++runs}.json`)
  const done = spawnSync(process.execPath, ['-r', registerFile, join(__dirname, 'children', script), ...args], {
    encoding: 'utf8',
    timeout: 200_000,
    env: { ...process.env, VGPU_REPORT: report, LD_LIBRARY_PATH: join(root, 'build', 'Release', 'vgpu'), ...env },
  })
  if (done.status !== 0 && env['VGPU_REPLACE'] === undefined) throw new Error(done.stderr)
  return { stdout: done.stdout, launches: readReport(report) }
}

/** describe where there are a toolkit and an addon with CUDA; else describe.skip, saying what is not tested. */
export function describeWithCuda(untested: string): jest.Describe {
  if (findNvcc() !== undefined) {
    buildVirtualGpu()
    if (call('attention.ts', ['linear']).stdout !== 'none') return describe
  }
  process.stderr.write(`the addon is built without CUDA: ${untested}\n`)
  return describe.skip
}
