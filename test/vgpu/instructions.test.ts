// Instructions of the virtual GPU against models in C++ (tests/instructions.cpp, scalar.cpp, movement.cpp), for two orders of execution.
import { buildVirtualGpu, findNvcc, runProgram } from './samples'

// The library needs cuda.h, which comes with the compiler of kernels.
const suite = findNvcc() === undefined ? describe.skip : describe

suite('instructions', () => {
  beforeAll(buildVirtualGpu, 300_000)

  test.each(['0', '1'])('agree with their models, seed %s', (seed) => {
    expect(runProgram('instructions', [], { VGPU_SEED: seed })).toEqual({ status: 0, output: '0 failures\n' })
  })

  test.each([['scalar', '0'], ['scalar', '1'], ['movement', '0'], ['movement', '1']])('%s: agree with their models, seed %s', (name, seed) => {
    const { status, output } = runProgram(name, [], { VGPU_SEED: seed })
    expect(output).toMatch(/^\d+ instructions, 0 wrong\n$/)
    expect(status).toBe(0)
  })
})
