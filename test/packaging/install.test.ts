import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

// The package as a user gets it: prebuilt, packed, installed into an empty folder where there is no compiler, and loaded.

interface Manifest {
  readonly files: readonly string[]
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
}
interface Packed {
  readonly filename: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

const root = join(__dirname, '..', '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
const npm = findNpm()
const prebuild = `prebuilds/${process.platform}-${process.arch}/node-flash-attention.glibc.node`

let folder: string
let project: string
let home: string
let packed: Packed

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'install-'))
  project = join(folder, 'project')
  home = join(folder, 'home')
  for (const name of [project, home]) mkdirSync(name)
  packed = packPackage(join(folder, 'package'))
  installPackage()
}, 300_000)
afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe('the tarball', () => {
  const paths = (): string[] => packed.files.map((file) => file.path)

  test('holds what a user needs', () => {
    const needed = [
      'package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CMakeLists.txt', 'binding.gyp', prebuild, 'dist/index.js', 'dist/index.d.ts',
      'dist/cli/main.js', 'scripts/build-native.js', 'scripts/build-lock.js', 'scripts/build-tools.js', 'native/binding/addon.cpp',
    ]
    expect(needed.filter((path) => !paths().includes(path))).toEqual([])
  })

  test('holds nothing else', () => {
    const files = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|CMakeLists\.txt|binding\.gyp|bench\/peers\/torch_peer\.py)$/
    const folders = /^(prebuilds\/|dist\/.*\.(js|d\.ts)$|scripts\/build-|native\/)/
    expect(paths().filter((path) => !files.test(path) && !folders.test(path))).toEqual([])
    expect(paths().filter((path) => /\.(o|a|so|tsbuildinfo|log|tgz)$|^native\/.*\.node$|(^|\/)\.[^/]*$/.test(path))).toEqual([])
  })

  test('is small enough for one package', () => {
    // docs/dependencies.md: past 20 MB the prebuilds move to packages of their own.
    expect(packed.unpackedSize).toBeLessThan(20e6)
    expect(packed.files.find((file) => file.path === prebuild)!.size).toBeGreaterThan(100e3)
  })

  test('runs no script when it is installed', () => {
    expect(Object.keys(manifest.scripts).filter((name) => /install|prepare|prepublish|^prebuild$/.test(name))).toEqual([])
    const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8')) as { packages: Record<string, { hasInstallScript?: boolean }> }
    const withScripts = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript)
    expect(withScripts).toEqual([])
    expect(existsSync(join(project, 'node_modules', 'node-flash-attention', 'build'))).toBe(false)
  })
})

test('prebuildify leaves the tree its own addon', () => {
  expect(existsSync(join(root, 'build', 'Release', 'attn.node'))).toBe(true)
})

describe('the installed package', () => {
  const program = `
const q = Tensor.from([1, 0], [1, 1, 1, 2]), k = Tensor.from([1, 0], [1, 1, 1, 2]), v = Tensor.from([3, 4], [1, 1, 1, 2])
console.log(Array.from(flashAttention(q, k, v).out.readSync()).join())`

  test('loads by require', () => {
    const { stdout, stderr } = node('-e', `const { Tensor, flashAttention } = require('node-flash-attention')${program}`)
    expect({ stdout, stderr }).toEqual({ stdout: '3,4\n', stderr: '' })
  })

  test('loads by import', () => {
    const { stdout, stderr } = node('--input-type=module', '-e', `import { Tensor, flashAttention } from 'node-flash-attention'${program}`)
    expect({ stdout, stderr }).toEqual({ stdout: '3,4\n', stderr: '' })
  })

  test('loads no dependency but the one that finds the addon', () => {
    const { stdout } = node('-p', `require('node-flash-attention')
Object.keys(require.cache).map((file) => file.split('/node_modules/').pop().split('/')[0]).filter((name, i, all) => all.indexOf(name) === i).join()`)
    expect(stdout).toBe('node-flash-attention,node-gyp-build\n')
  })

  test('is one instance, however it is loaded', () => {
    const both = `import { createRequire } from 'node:module'
import { Tensor } from 'node-flash-attention'
console.log(createRequire(import.meta.url)('node-flash-attention').Tensor === Tensor)`
    writeFileSync(join(project, 'both.mjs'), both)
    expect(node('both.mjs').stdout).toBe('true\n')
  })

  test('runs from the command line', () => {
    const { stdout, stderr, status } = npx('info')
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
    expect(stdout).toContain('attention')
  })

  test('its types compile in a strict project without skipLibCheck', () => {
    const user = "import { Tensor, type Shape } from 'node-flash-attention'\nexport const shape: Shape = Tensor.zeros([1]).shape\n"
    writeFileSync(join(project, 'user.ts'), user)
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const compilerOptions = { noEmit: true, strict: true, module: 'node20', target: 'es2022', lib: ['es2023', 'esnext.disposable'], types: [] }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['user.ts'] }))
    const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', '.'], { cwd: project, encoding: 'utf8' })
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 })
  })
})

describe('without a fitting prebuild', () => {
  const prebuilds = (): string => join(project, 'node_modules', 'node-flash-attention', 'prebuilds')
  beforeAll(() => {
    cpSync(prebuilds(), join(folder, 'kept'), { recursive: true })
    rmSync(prebuilds(), { recursive: true })
  })
  afterAll(() => {
    cpSync(join(folder, 'kept'), prebuilds(), { recursive: true })
  })

  test('loading names the command that compiles', () => {
    const { stderr, status } = node('-e', `try { require('node-flash-attention') } catch (error) { console.error(error.message); process.exit(7) }`)
    expect(status).toBe(7)
    expect(stderr).toMatch(/^node-flash-attention: no native addon for \S+ \(node [\d.]+\)\.\n {2}Prebuilt in this package: none\.\n.*: npx node-flash-attention build\n$/)
  })

  test('and that command says what it lacks', () => {
    const { stderr, status } = npx('build')
    expect(status).toBe(1)
    expect(stderr).toContain('the native addon was not built: not found: cmake, a C++ compiler, make or ninja.')
    expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(4)
  })
})

test('the package has all that CMake needs to compile it', () => {
  const installed = join(project, 'node_modules', 'node-flash-attention')
  const configured = join(folder, 'configured')
  const { stderr, status } = spawnSync('cmake', ['-S', installed, '-B', configured, '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON'], { encoding: 'utf8' })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  const commands = readFileSync(join(configured, 'compile_commands.json'), 'utf8')
  const headers = [...commands.matchAll(/-isystem (\S+)/g)].map(([, path]) => realpathSync(path!))
  const modules = realpathSync(join(project, 'node_modules'))
  expect(new Set(headers)).toEqual(new Set([join(modules, 'node-api-headers', 'include'), join(modules, 'node-addon-api')]))
})

/** Runs the package's own prebuildify command and npm pack in a copy, since prebuildify moves build/Release away. */
function packPackage(copy: string): Packed {
  mkdirSync(copy)
  for (const name of ['package.json', 'README.md', 'LICENSE', ...manifest.files.filter((file) => !file.startsWith('!')).map((file) => file.split('/')[0]!)]) {
    if (name !== 'prebuilds') cpSync(join(root, name), join(copy, name), { recursive: true })
  }
  const builder = join(root, 'scripts', 'build-native.js')
  const [command, ...args] = manifest.scripts.prebuildify!.replace('./scripts/build-native.js', builder).split(' ')
  const bin = join(root, 'node_modules', '.bin', command!)
  // The tree's builder, which has nothing left to compile, leaves a copy here.
  succeed(spawnSync(bin, args, { cwd: copy, encoding: 'utf8', env: { ...process.env, ATTN_OUT: join(copy, 'build', 'Release') } }))
  const [result] = JSON.parse(runNpm(copy, process.env, ['pack', '--json', '--ignore-scripts']).stdout) as Packed[]
  return result!
}

/** Installs the tarball where nothing but Node is at hand, its dependencies from their own tarballs: no network is needed. */
function installPackage(): void {
  const dependencies = dependencyClosure().map((name) => join(root, 'node_modules', name))
  const store = join(folder, 'store')
  mkdirSync(store)
  runNpm(store, process.env, ['pack', '--json', '--ignore-scripts', ...dependencies])
  const tarballs = readdirSync(store).map((name) => join(store, name))
  writeFileSync(join(project, 'package.json'), '{ "private": true }')
  const flags = ['--offline', '--no-audit', '--no-fund', '--foreground-scripts']
  const { stdout, stderr } = runNpm(project, bareEnvironment(), ['install', ...flags, join(folder, 'package', packed.filename), ...tarballs])
  expect(stdout + stderr).not.toMatch(/install script|node-gyp|gyp info/)
}

/** The names of all packages that a user's installation brings, from the lock file. */
function dependencyClosure(): string[] {
  type Entry = { readonly dependencies?: Record<string, string>; readonly optionalDependencies?: Record<string, string> }
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Entry> }
  const found = new Set<string>()
  const visit = (names: readonly string[]): void => {
    for (const name of names.filter((candidate) => !found.has(candidate))) {
      found.add(name)
      const entry = packages[`node_modules/${name}`]
      visit(Object.keys({ ...entry?.dependencies, ...entry?.optionalDependencies }))
    }
  }
  visit(Object.keys(manifest.dependencies))
  return [...found]
}

/** PATH with node, npm's shell and nothing else; an empty home; none of npm's settings of the process that runs the tests. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const bin = join(folder, 'bin')
  if (!existsSync(bin)) {
    mkdirSync(bin)
    symlinkSync(process.execPath, join(bin, 'node'))
    for (const tool of ['sh', 'env']) symlinkSync(realpathSync(onPath(tool)!), join(bin, tool))
  }
  return { PATH: bin, HOME: home, NO_COLOR: '1' }
}

function node(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, args, { cwd: project, env: bareEnvironment(), encoding: 'utf8' })
}

/** `npx node-flash-attention …` in the user's project. */
function npx(...args: string[]): SpawnSyncReturns<string> {
  const command = [npm, 'exec', '--offline', '--', 'node-flash-attention', ...args]
  return spawnSync(process.execPath, command, { cwd: project, env: bareEnvironment(), encoding: 'utf8' })
}

function runNpm(cwd: string, env: NodeJS.ProcessEnv, args: readonly string[]): SpawnSyncReturns<string> {
  return succeed(spawnSync(process.execPath, [npm, ...args], { cwd, env, encoding: 'utf8', maxBuffer: 1 << 26 }))
}

function succeed(result: SpawnSyncReturns<string>): SpawnSyncReturns<string> {
  if (result.status !== 0) throw new Error(`${result.error?.message ?? ''} ended with ${result.status}\n${result.stdout}\n${result.stderr}`)
  return result
}

/** npm's own script, since a bare PATH has no npm. */
function findNpm(): string {
  const given = process.env.npm_execpath
  if (given?.endsWith('npm-cli.js')) return given
  const beside = realpathSync(onPath('npm')!)
  return beside.endsWith('.js') ? beside : join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js')
}

function onPath(tool: string): string | undefined {
  return process.env.PATH?.split(delimiter).map((at) => join(at, tool)).find((file) => existsSync(file))
}
