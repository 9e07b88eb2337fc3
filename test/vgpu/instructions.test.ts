// Every instruction of tests/instructions.cpp against its scalar model, on the virtual GPU.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { buildVirtualGpu, findNvcc, root } from './samples'

// The library needs cuda.h, which comes with the compiler of kernels.
const suite = findNvcc() === undefined ? describe.skip : describe

suite('instructions', () => {
  beforeAll(buildVirtualGpu, 300_000)

  test.each(['0', '1'])('agree with their models, seed %s', (seed) => {
    const done = spawnSync(join(root, 'build', 'vgpu', 'instructions'), { encoding: 'utf8', timeout: 60_000, env: { ...process.env, VGPU_SEED: seed } })
    expect(done.stdout + done.stderr).toBe('0 failures\n')
    expect(done.status).toBe(0)
  })
})
