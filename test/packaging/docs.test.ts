import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = join(__dirname, '..', '..')
const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
const read = (page: string): string => readFileSync(join(root, page), 'utf8')

test('the generated parts of the README are current', () => {
  const { stderr, status } = spawnSync(process.execPath, [join(root, 'scripts', 'update-readme.js'), '--check'], { encoding: 'utf8' })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
})

describe.each(pages)('%s', (page) => {
  const text = read(page)

  test('its links lead somewhere', () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, link]) => link!).filter((link) => !/^[a-z]+:/.test(link))
    expect(links.filter((link) => !existsSync(join(root, dirname(page), link)))).toEqual([])
  })

  test('the files that it names exist', () => {
    // `lib/ops/rope.ts` and `test/reference/` name files; `<op>` and `*` stand for some.
    const named = [...text.matchAll(/`((?:lib|native|test|scripts|docs|examples|bench|\.ci|\.github)\/[^`\s]*)`/g)].map(([, path]) => path!)
    const exact = named.filter((path) => !/[<>*{}…]/.test(path) && !path.startsWith('docs/api'))
    expect(exact.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  test('its commands exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const commands = [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!)
    expect(commands.filter((name) => !(name in scripts))).toEqual([])
  })
})

test('dependencies.md names every dependency with its version', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>
  const page = read('docs/dependencies.md')
  const missing = Object.entries({ ...dependencies, ...devDependencies }).filter(([name, version]) => !page.includes(`| ${name} | ${version} |`))
  expect(missing).toEqual([])
})

test('the lock file serves every platform and any registry', () => {
  const { stdout, status } = spawnSync(process.execPath, [join(root, 'scripts', 'complete-lock.js'), '--check'], { encoding: 'utf8' })
  expect({ stdout, status }).toEqual({ stdout: 'package-lock.json: 0 platform packages missing\n', status: 0 })
  expect(read('package-lock.json')).not.toContain('"resolved": "http')
})

test('every dependency is pinned', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>
  expect(Object.values({ ...dependencies, ...devDependencies }).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
})
