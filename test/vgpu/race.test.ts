// Races between blocks, and shared counters that nobody initialised, are findings in every order of blocks; the mended kernels have none.
import { buildVirtualGpu, findNvcc, runProgram } from './samples'

const suite = findNvcc() === undefined ? describe.skip : describe

suite('races', () => {
  beforeAll(buildVirtualGpu, 300_000)

  test.each([
    ['neighbour', 'global memory race'],
    ['counter', 'uninitialised shared read'],
  ])('%s: %s, and nothing once mended', (kernel, finding) => {
    for (const seed of ['0', '1', '2', '3', '4', '5']) {
      const broken = runProgram('race', [kernel], { VGPU_SEED: seed })
      expect(broken.output).toContain(`${finding} in ${kernel}`)
      expect(broken.status).toBe(2)
      expect(runProgram('race', [`${kernel}_apart`], { VGPU_SEED: seed })).toEqual({ status: 0, output: '' })
    }
  })
})
