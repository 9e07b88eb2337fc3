import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')

interface Outcome {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'builder-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('without its tools', () => {
  const cure = /^ {2}It needs CMake 3\.22\+, a C\+\+20 compiler .*\n {2}Debian, Ubuntu: apt-get install cmake g\+\+ make .*\n {2}macOS: .*$/

  test.each([
    [[], 'cmake, a C++ compiler, make or ninja'],
    [['g++', 'make'], 'cmake'],
    [['cmake', 'make'], 'a C++ compiler'],
    [['cmake', 'g++'], 'make or ninja'],
  ])('with %j only', (tools, missing) => {
    for (const tool of tools) fakeTool(tool, `${tool} version 3.25.1`)
    const { stdout, stderr, status } = build(root, { PATH: folder })
    expect({ stdout, status }).toEqual({ stdout: '', status: 1 })
    const [first, ...rest] = stderr.trim().split('\n')
    expect(first).toBe(`node-flash-attention: the native addon was not built: not found: ${missing}.`)
    expect(rest.join('\n')).toMatch(cure)
  })

  test('an old CMake and a compiler that is not there are named', () => {
    fakeTool('cmake', 'cmake version 3.16.3')
    fakeTool('make', 'GNU Make 4.3')
    const { stderr } = build(root, { PATH: folder, CXX: 'clang++-19 -stdlib=libc++' })
    expect(stderr).toContain('not found: cmake 3.22 or newer (this is 3.16), the C++ compiler clang++-19 (named by CXX).')
  })

  function fakeTool(name: string, version: string): void {
    writeFileSync(join(folder, name), `#!/bin/sh\necho '${version}'\n`)
    chmodSync(join(folder, name), 0o755)
  }
})

// A project of one source line, so that building it is quick; without cmake-js, as at a user's.
describe('in a small project', () => {
  const addon = (): string => join(folder, 'build', 'Release', 'attn.node')
  const project = `
cmake_minimum_required(VERSION 3.22)
project(attn LANGUAGES CXX)
option(ATTN_TESTS "there are none here" OFF)
set(TEXT "plain" CACHE STRING "what the addon holds")
add_library(attn SHARED attn.cpp)
set_target_properties(attn PROPERTIES PREFIX "" SUFFIX ".node")
target_compile_definitions(attn PRIVATE TEXT="text is \${TEXT}")
`
  beforeEach(() => {
    mkdirSync(join(folder, 'scripts'))
    for (const name of readdirSync(join(root, 'scripts')).filter((file) => file.startsWith('build-'))) {
      cpSync(join(root, 'scripts', name), join(folder, 'scripts', name))
    }
    writeFileSync(join(folder, 'CMakeLists.txt'), project)
    writeFileSync(join(folder, 'attn.cpp'), 'extern "C" const char* text() { return TEXT; }\n')
  })

  test('the second build prints nothing and writes nothing', () => {
    expect(build(folder)).toMatchObject({ stderr: '', status: 0 })
    const before = statSync(addon())
    expect(build(folder)).toEqual({ stdout: '', stderr: '', status: 0 })
    const after = statSync(addon())
    expect([after.mtimeMs, after.ino]).toEqual([before.mtimeMs, before.ino])
  })

  test('a changed source, a changed option and a lost result count', () => {
    build(folder)
    expect(holds('text is plain')).toBe(true)
    build(folder, { ATTN_CMAKE_ARGS: '-DTEXT=other' })
    expect(holds('text is other')).toBe(true)
    writeFileSync(join(folder, 'attn.cpp'), 'extern "C" const char* text() { return "new " TEXT; }\n')
    build(folder, { ATTN_CMAKE_ARGS: '-DTEXT=other' })
    expect(holds('new text is other')).toBe(true)
    rmSync(addon())
    expect(build(folder, { ATTN_CMAKE_ARGS: '-DTEXT=other' })).toEqual({ stdout: '', stderr: '', status: 0 })
    expect(holds('new text is other')).toBe(true)
  })

  test('a moved project and a path with a space build', () => {
    build(folder)
    const moved = `${folder} moved`
    renameSync(folder, moved)
    folder = moved
    expect(build(folder)).toMatchObject({ stderr: '', status: 0 })
    expect(holds('text is plain')).toBe(true)
  })

  test('ATTN_OUT says where the result goes', () => {
    build(folder, { ATTN_OUT: join(folder, 'elsewhere') })
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual(['attn.node'])
  })

  test('an error of the compiler is shown', () => {
    writeFileSync(join(folder, 'attn.cpp'), 'int broken = nothing;\n')
    const { stdout, stderr, status } = build(folder)
    expect(status).toBe(1)
    expect(stdout + stderr).toMatch(/attn\.cpp:1:.*nothing/)
    expect(stderr).toContain('node-flash-attention: the native addon was not built: cmake ended with')
  })

  test('builds at the same time wait for each other', async () => {
    const outcomes = await Promise.all([0, 1, 2].map(() => buildBeside(folder)))
    expect(outcomes.map(({ stderr, status }) => ({ stderr, status }))).toEqual(Array.from({ length: 3 }, () => ({ stderr: '', status: 0 })))
    expect(outcomes.filter(({ stdout }) => stdout.includes('compiling'))).toHaveLength(1)
    expect(readdirSync(join(folder, 'build')).filter((name) => name.startsWith('.lock'))).toEqual([])
  })

  test('the lock of a process that died is taken over', () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid
    mkdirSync(join(folder, 'build'))
    writeFileSync(join(folder, 'build', '.lock'), String(dead))
    expect(build(folder)).toMatchObject({ stderr: '', status: 0 })
    expect(holds('text is plain')).toBe(true)
  })

  function holds(text: string): boolean {
    return readFileSync(addon()).includes(`${text}\0`)
  }
})

test('prebuildify finds an executable builder', () => {
  expect(statSync(join(root, 'scripts', 'build-native.js')).mode & 0o111).not.toBe(0)
})

test('the tree itself is built: building again writes nothing', () => {
  const file = join(root, 'build', 'Release', 'attn.node')
  const before = statSync(file)
  const { stdout, stderr, status } = build(root)
  // Another test file may be building at this moment.
  expect({ stdout: stdout.replace('node-flash-attention: waiting for another build\n', ''), stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 })
  const after = statSync(file)
  expect([after.mtimeMs, after.ino]).toEqual([before.mtimeMs, before.ino])
})

function buildEnvironment(extra: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { ATTN_CMAKE_ARGS: _args, ATTN_OUT: _out, ATTN_PLAIN_CMAKE: _plain, CXX: _compiler, ...inherited } = process.env
  return { ...inherited, ...extra }
}

function build(project: string, env: NodeJS.ProcessEnv = {}): Outcome {
  const options = { encoding: 'utf8', env: buildEnvironment(env) } as const
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(project, 'scripts', 'build-native.js')], options)
  return { stdout, stderr, status }
}

function buildBeside(project: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(project, 'scripts', 'build-native.js')], { env: buildEnvironment({}) })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('close', (status) => {
      resolve({ stdout, stderr, status })
    })
  })
}
