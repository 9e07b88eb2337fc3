// Instructions of the virtual GPU against models in C++ (tests/scalar.cpp, tests/movement.cpp), for two orders of execution.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')
const toolkit = ['nvcc', '/usr/local/cuda/bin/nvcc'].some((name) => spawnSync(name, ['--version']).status === 0)

if (!toolkit) process.stderr.write('no CUDA toolkit: the instructions of the virtual GPU are not tested\n')

;(toolkit ? describe : describe.skip)('instructions', () => {
  beforeAll(() => {
    const done = spawnSync(process.execPath, [join(root, 'scripts', 'vgpu.js'), '--build'], { encoding: 'utf8' })
    if (done.status !== 0) throw new Error(done.stderr)
  }, 300_000)

  it.each([['scalar', '0'], ['scalar', '1'], ['movement', '0'], ['movement', '1']])('%s: agree with their models, seed %s', (name, seed) => {
    const program = join(root, 'build', 'vgpu', name)
    expect(existsSync(program)).toBe(true)
    const done = spawnSync(program, [], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, VGPU_SEED: seed } })
    expect(done.stdout + done.stderr).toMatch(/^\d+ instructions, 0 wrong\n$/)
    expect(done.status).toBe(0)
  })
})
