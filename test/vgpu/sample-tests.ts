// What is asked of all sample kernels: right in every order of warps, blocks and copies, and found when one edit breaks them.
import { apply, type Mutant } from './edits'
import { runProgram, type SampleRun } from './samples'

export const seeds = ['0', '1', '2', '3', '4']

/** Runs a kernel of this PTX. */
export type RunKernel = (ptx: string, kernel: string, seed: string) => SampleRun

/** `ptx` is asked for when the tests run: it is compiled by then. */
export function testSamples(kernels: readonly string[], mutants: readonly Mutant[], ptx: () => string, run: RunKernel): void {
  test.each(kernels)('%s is right and nothing is found, whatever the order', (kernel) => {
    for (const seed of [...seeds, '5', '6', '7']) {
      const { status, output, launches } = run(ptx(), kernel, seed)
      expect({ seed, status, output }).toEqual({ seed, status: 0, output: '' })
      expect(launches).toHaveLength(1)
    }
  })

  test.each(mutants.map((m) => [m.kernel, m.name, m] as const))('%s, %s: is found', (_kernel, _name, m) => {
    const broken = apply(ptx(), m)
    for (const seed of seeds) {
      const { status, output, launches } = run(broken, m.kernel, seed)
      expect({ seed, status, output }).toMatchObject({ seed, status: 2 })
      expect({ seed, finding: launches.map((launch) => launch.finding).join(), output }).toEqual({ seed, finding: expect.stringMatching(m.finding), output })
      expect(output).toContain(`in ${m.kernel}, CTA (`)
      expect(output).toMatch(/\.(cu|hpp):\d+ /)
    }
  })
}

/** A program of short kernels for compute capability 9.0: the one called `name` breaks a rule, and keeps it when asked to. */
export function expectFoundUnlessKept(program: string, name: string, finding: string): void {
  for (const seed of seeds) {
    const env = { VGPU_CC: '90', VGPU_SEED: seed }
    const broken = runProgram(program, [name], env)
    expect(broken.output).toMatch(new RegExp(`^vgpu: (${finding}) in k, `, 'm'))
    expect(broken.status).toBe(2)
    expect({ seed, ...runProgram(program, [name, 'kept'], env) }).toEqual({ seed, status: 0, output: '' })
  }
}
