// A census of the instructions that the kernels are made of: each of them has been held against a model, some must be there, some must not.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { devices } from '../../lib/index'
import { buildVirtualGpu, root } from './samples'

const list = readFileSync(join(root, 'native', 'cuda', 'families.cmake'), 'utf8')
const families = [...list.matchAll(/^attn_kernels\((\w+) (\w+)\)$/gm)].map(([, op, family]) => `${op}_${family}`)
/** The text of the programs that test them: an instruction follows white space, a quote or a line end of the C++ string. */
const written = ['scalar', 'instructions', 'movement']
  .map((name) => readFileSync(join(root, 'test', 'vgpu', 'tests', `${name}.cpp`), 'utf8').replaceAll('\\n', '\n')).join('\n')

/** Others put their instructions together as they run: what they ran. */
function ran(): string {
  const file = join(mkdtempSync(join(tmpdir(), 'vgpu-')), 'all.ptx')
  for (const name of ['copies', 'bulk_copies', 'mbarriers', 'wgmma']) {
    const done = spawnSync(join(root, 'build', 'vgpu', name), { encoding: 'utf8', env: { ...process.env, VGPU_CC: '90', VGPU_TEST_PTX: file } })
    if (done.status !== 0) throw new Error(done.stdout + done.stderr)
  }
  return readFileSync(file, 'utf8')
}

/** How often each opcode, with all that belongs to it, stands in the PTX of a family. */
function census(family: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const line of readFileSync(join(root, 'build', 'cmake-js-cuda', `${family}.ptx`), 'utf8').split('\n')) {
    const [, opcode] = /^\s+(?:\{\s*)?(?:@!?%\w+\s+)?([a-z][a-z0-9_.:]*)(?=[\s;])[^;]*;/.exec(line) ?? []
    if (opcode !== undefined) counts.set(opcode, (counts.get(opcode) ?? 0) + 1)
  }
  return counts
}

const suite = devices.unavailableReason('cuda') === undefined && existsSync(join(root, 'build', 'cmake-js-cuda')) ? describe : describe.skip

suite('the instructions of the kernels', () => {
  const hopper = families.filter((family) => family.endsWith('_sm90a'))
  let programs = written
  beforeAll(() => {
    buildVirtualGpu()
    if (hopper.length > 0) programs += ran()
  }, 300_000)

  test.each(families)('%s: each is tested on its own', (family) => {
    const opcodes = [...census(family).keys()]
    expect(opcodes.length).toBeGreaterThan(10)
    expect(opcodes.filter((opcode) => !new RegExp(`(?<![\\w.])${opcode.replaceAll('.', '\\.')}[ ;\\n]`).test(programs))).toEqual([])
  })

  // Atomic additions come in any order, local memory is memory, calls need a stack, and double precision runs at a fraction of the speed: the angles
  // of rope alone need it.
  test.each(families)('%s: no atomics, no local memory, no calls; no doubles but in rope', (family) => {
    const forbidden = family === 'rope_sm80' ? /^(atom|red|call|trap|ld\.local|st\.local)\b/ : /^(atom|red|call|trap|ld\.local|st\.local)\b|\.f64\b/
    expect([...census(family).keys()].filter((opcode) => forbidden.test(opcode))).toEqual([])
  })

  const fast = ['attention_sm80', 'attention_split_sm80', 'linear_sm80', 'mla_decode_sm80']
  test.each(families.filter((family) => family.endsWith('_sm80')))('%s: tensor cores, matrix loads and asynchronous copies go together', (family) => {
    const opcodes = [...census(family).keys()]
    const has = ['mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32', 'mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32',
      'ldmatrix.sync.aligned.m8n8.x4.shared.b16', 'cp.async.cg.shared.global'].map((opcode) => opcodes.includes(opcode))
    expect(has).toEqual(has.map(() => fast.includes(family)))
  })
})
