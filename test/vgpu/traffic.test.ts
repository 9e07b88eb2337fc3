// What the package's own kernels move, counted by the virtual GPU: keys and values once per group of query heads, and no bank conflict.
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { registerFile } from '../support/child'
import { type LaunchReport, readReport } from './report'
import { buildVirtualGpu, findNvcc, root } from './samples'

const folder = mkdtempSync(join(tmpdir(), 'vgpu-'))

function run(kind: string): LaunchReport[] | undefined {
  const report = join(folder, `${kind}.json`)
  const child = join(__dirname, 'children', 'attention.ts')
  const done = spawnSync(process.execPath, ['-r', registerFile, child, kind], {
    encoding: 'utf8',
    timeout: 100_000,
    env: { ...process.env, VGPU_REPORT: report, LD_LIBRARY_PATH: join(root, 'build', 'Release', 'vgpu') },
  })
  if (done.status !== 0) throw new Error(done.stderr)
  return done.stdout === 'none' ? undefined : readReport(report)
}

const toolkit = findNvcc() !== undefined
if (toolkit) buildVirtualGpu()
const withCuda = toolkit && run('decode') !== undefined
if (!withCuda) process.stderr.write('the addon is built without CUDA: what its kernels move is not tested\n')

;(withCuda ? describe : describe.skip)('traffic', () => {
  const attentionOf = (kind: string): LaunchReport => {
    const launches = run(kind) ?? []
    expect(launches.filter((launch) => launch.finding !== undefined)).toEqual([])
    const found = launches.find(({ mmaFlops }) => mmaFlops > 0)
    if (found === undefined) throw new Error(`no kernel used tensor cores: ${launches.map(({ kernel }) => kernel).join()}`)
    return found
  }

  test('decode loads each byte of keys and values once for its 4 query heads', () => {
    const launch = attentionOf('decode')
    const kvBytes = 2 * 700 * 2 * 128 * 2
    const kv = launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === kvBytes)
    expect(kv.map(({ loadedBytes }) => loadedBytes)).toEqual([kvBytes, kvBytes])
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  test('mlaDecode loads each byte of the latents once for its 16 heads', () => {
    const launch = attentionOf('mla')
    const latentBytes = (300 + 77) * 576 * 2
    expect(launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === latentBytes).map(({ loadedBytes }) => loadedBytes)).toEqual([latentBytes])
  })

  test('prefill stores its output once and meets no bank conflict', () => {
    const launch = attentionOf('prefill')
    const stored = launch.traffic.filter(({ storedBytes }) => storedBytes > 0)
    expect(stored.map(({ storedBytes, uniqueStoredBytes }) => storedBytes - uniqueStoredBytes)).toEqual(stored.map(() => 0))
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })
})
