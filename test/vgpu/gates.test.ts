// The build refuses kernels outside their limits: native/cuda/assemble.cmake, run here on small kernels and changed ones.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { compile, findNvcc, root } from './samples'

const nvcc = findNvcc()
const suite = nvcc === undefined ? describe.skip : describe

suite('the build of a kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gates-'))
  const bin = ['/usr/local/cuda/bin', dirname(nvcc ?? '')].find((path) => spawnSync(join(path, 'ptxas'), ['--version']).status === 0) ?? ''
  const ptx = nvcc === undefined ? '' : compile(nvcc, 'test/vgpu/kernels/samples.cu')

  function assemble(text: string, budgets: string, arch = '80'): { status: number | null; said: string } {
    writeFileSync(join(folder, 'k.ptx'), text)
    writeFileSync(join(folder, 'registers.txt'), budgets)
    const tools = ['ptxas', 'fatbinary'].map((name) => `-D${name.toUpperCase()}=${join(bin, name)}`)
    const files = [['PTX', 'k.ptx'], ['FATBIN', 'k.fatbin'], ['BUDGETS', 'registers.txt']].map(([name, file]) => `-D${name}=${join(folder, file!)}`)
    const args = [...tools, ...files, '-DIDENT=k', `-DARCH=${arch}`]
    const done = spawnSync('cmake', [...args, '-P', join(root, 'native', 'cuda', 'assemble.cmake')], { encoding: 'utf8' })
    return { status: done.status, said: done.stderr }
  }

  const enough = 'matmul 255\nblock_sum 255\nwarp_reverse 255\nlast_block 255\n'

  test('passes within its limits', () => {
    expect(assemble(ptx, enough)).toEqual({ status: 0, said: '' })
  })

  test('fails beyond its registers, and without a budget', () => {
    const { status, said } = assemble(ptx, 'matmul 8\nblock_sum 255\nwarp_reverse 255\n')
    expect(status).not.toBe(0)
    expect(said).toMatch(/matmul: \d+ registers, budget 8 in .*registers\.txt/)
    expect(said).toMatch(/last_block: \d+ registers, no budget in .*registers\.txt/)
    expect(said).not.toMatch(/block_sum: /)
  })

  test('fails when registers are spilled to memory', () => {
    // 64 numbers live across a barrier, in 24 registers.
    const each = (text: (i: number) => string) => Array.from({ length: 64 }, (_, i) => text(i)).join('\n')
    const wide = `.version 9.0\n.target sm_80\n.address_size 64\n.visible .entry wide(.param .u64 p)\n.maxnreg 24\n{\n.reg .f32 %f<64>;\n.reg .b64 %a;
      .loc 1 1 0\nld.param.u64 %a, [p];\n${each((i) => `ld.global.f32 %f${i}, [%a+${4 * i}];`)}\nbar.sync 0;\n${each((i) => `st.global.f32 [%a+${4 * i}], %f${63 - i};`)}
      ret;\n}\n.file 1 "wide.cu"\n`
    const { status, said } = assemble(wide, 'wide 255\n')
    expect(status).not.toBe(0)
    expect(said).toMatch(/spill/)
  })

  // ptxas repairs these and ends with status 0; the repair costs the overlap that the kernel was written for.
  describe('with wgmma', () => {
    const hopper = nvcc === undefined ? '' : compile(nvcc, 'test/vgpu/kernels/wgmma.cu', 'sm_90a')
    const budgets = 'chain 168\nnarrow 255\nrestage 255\n'
    /** Edits the first match in kernel chain. */
    const broken = (pattern: RegExp, replacement: string) => {
      const begin = hopper.indexOf('.entry chain')
      return hopper.slice(0, begin) + hopper.slice(begin).replace(pattern, replacement)
    }

    test('passes within its limits', () => {
      expect(assemble(hopper, budgets, '90a')).toEqual({ status: 0, said: '' })
    })

    test.each([
      ['no wait_group', /wgmma\.wait_group[^;]*;/, '', 'C7517'],
      ['wait_group 1 instead of 0', /wgmma\.wait_group[^;]*;/, 'wgmma.wait_group.sync.aligned 1;', 'C7514'],
      ['no fence', /wgmma\.fence[^;]*;/, '', 'C7519'],
    ])('fails with %s', (_name, pattern, replacement, message) => {
      const { status, said } = assemble(broken(pattern, replacement), budgets, '90a')
      expect(status).not.toBe(0)
      expect(said).toContain(`(${message})`)
    })
  })
})
