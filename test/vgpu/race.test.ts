// Races between blocks, and shared counters that nobody initialised, are findings in every order of blocks; the mended kernels have none.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')
const toolkit = ['nvcc', '/usr/local/cuda/bin/nvcc'].some((name) => spawnSync(name, ['--version']).status === 0)

if (!toolkit) process.stderr.write('no CUDA toolkit: the races found by the virtual GPU are not tested\n')

;(toolkit ? describe : describe.skip)('races', () => {
  beforeAll(() => {
    const done = spawnSync(process.execPath, [join(root, 'scripts', 'vgpu.js'), '--build'], { encoding: 'utf8' })
    if (done.status !== 0) throw new Error(done.stderr)
  }, 300_000)

  it.each([
    ['neighbour', 'global memory race'],
    ['counter', 'uninitialised shared read'],
  ])('%s: %s, and nothing once mended', (kernel, finding) => {
    for (const seed of ['0', '1', '2', '3', '4', '5']) {
      const run = (name: string) =>
        spawnSync(join(root, 'build', 'vgpu', 'race'), [name], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, VGPU_SEED: seed } })
      const broken = run(kernel)
      expect(broken.stderr).toContain(`${finding} in ${kernel}`)
      expect(broken.status).toBe(2)
      const mended = run(`${kernel}_apart`)
      expect(mended.stdout + mended.stderr).toBe('')
      expect(mended.status).toBe(0)
    }
  })
})
