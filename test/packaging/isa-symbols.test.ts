import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

// Of equal inline functions in several objects the linker keeps one for everybody. If an object compiled for AVX-512 defines a
// function that others define too, the one that is kept may be its, and a processor without AVX-512 dies of it. So objects that are
// compiled per instruction set may define such weak symbols in their own namespace only.

const root = join(__dirname, '..', '..')
const build = ['cmake-js', 'cmake'].map((name) => join(root, 'build', name, 'CMakeFiles')).find((folder) => existsSync(folder))!
const isas = readdirSync(build).map((name) => /^attn_(amx|avx512bf16|avx512|avx2|baseline|neon)\.dir$/.exec(name)?.[1]).filter((isa) => isa !== undefined)

test('there are objects of every instruction set', () => {
  expect(isas.sort()).toEqual(process.arch === 'x64' ? ['amx', 'avx2', 'avx512', 'avx512bf16', 'baseline'] : process.arch === 'arm64' ? ['baseline', 'neon'] : ['baseline'])
  expect(isas.map((isa) => objectsOf(isa).length > 0)).toEqual(isas.map(() => true))
})

describe.each(isas)('%s', (isa) => {
  test('defines weak symbols in its own namespace only', () => {
    expect(symbolsOf(isa).filter(({ type, name }) => 'VvWwu'.includes(type) && !name.includes(`attn::cpu::${isa}::`))).toEqual([])
  })

  test('defines what the others cannot mistake for theirs', () => {
    const strong = symbolsOf(isa).filter(({ type }) => 'TDBR'.includes(type))
    expect(strong.length).toBeGreaterThan(0)
    expect(strong.filter(({ name }) => !name.includes(`attn::cpu::${isa}::`))).toEqual([])
  })
})

function symbolsOf(isa: string): { file: string; type: string; name: string }[] {
  return objectsOf(isa).flatMap((file) =>
    execFileSync('nm', ['-C', '--defined-only', file], { encoding: 'utf8', maxBuffer: 1 << 26 })
      .split('\n')
      .map((line) => /^[0-9a-f]+ (\w) (.*)$/.exec(line))
      .filter((match) => match !== null)
      .map(([, type, name]) => ({ file: file.slice(root.length + 1), type: type!, name: name! })),
  )
}

function objectsOf(isa: string): string[] {
  const folder = join(build, `attn_${isa}.dir`)
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(o|obj)$/.test(name)).map((name) => join(folder, name))
}
