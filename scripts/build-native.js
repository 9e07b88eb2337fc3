#!/usr/bin/env node
'use strict'
// The only builder: CMakeLists.txt, configured by cmake-js where it is installed (development) and by plain CMake
// otherwise (a user compiling from the package). Leaves build/Release/attn.node, where node-gyp-build and prebuildify
// look. When nothing changed it prints nothing and writes nothing.
//   --tests               build/Release/attn_tests too, from test/native; other arguments are ignored: prebuildify passes node-gyp's
//   ATTN_PLAIN_CMAKE=1    do not use cmake-js
//   ATTN_CMAKE_ARGS=...   more arguments for CMake, separated by spaces: -DCMAKE_BUILD_TYPE=Debug
//   ATTN_CUDA=AUTO|ON|OFF compile the CUDA kernels: where nvcc and a driver are (default), wherever nvcc is, never
//   ATTN_OUT=<folder>     where the finished files go (default build/Release)
//   CXX                   the compiler, as CMake reads it
const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { lockFolder } = require('./build-lock')
const { missingTools, whatToInstall } = require('./build-tools')

const root = path.join(__dirname, '..')

async function main() {
  const missing = missingTools()
  if (missing.length > 0) throw new Error(`not found: ${missing.join(', ')}.\n${whatToInstall}`)
  const setup = describeSetup()
  const unlock = await lockFolder(path.join(root, 'build'))
  try {
    const started = Date.now()
    await configure(setup)
    const targets = process.argv.includes('--tests') ? ['attn', 'attn_tests'] : ['attn']
    const parallel = String(os.availableParallelism())
    const worked = await cmake(['--build', setup.folder, '--config', 'Release', '--parallel', parallel, '--target', ...targets])
    const out = path.resolve(root, process.env.ATTN_OUT || 'build/Release')
    const names = targets.map((target) => (target === 'attn' ? 'attn.node' : executable(target)))
    const changed = names.filter((name) => place(path.join(setup.folder, 'Release', name), path.join(out, name)))
    if (worked) console.log(`node-flash-attention: ${changed.join(' and ') || 'nothing new'} after ${Math.round((Date.now() - started) / 1000)} s`)
  } finally {
    unlock()
  }
}

/** Everything that decides how CMake is configured. A change of any of it starts from an empty folder. */
function describeSetup() {
  const cmakeJs = process.env.ATTN_PLAIN_CMAKE ? undefined : findCmakeJs()
  // Folders apart: cmake-js prefers Ninja and a CMake folder cannot change its generator; kernels of CUDA take minutes to compile again.
  const folder = path.join(root, 'build', (cmakeJs ? 'cmake-js' : 'cmake') + (process.env.ATTN_CUDA === 'ON' ? '-cuda' : ''))
  const release = path.join(folder, 'Release')
  // The C++ tests ship with the repository only. They are always configured where they are, so that asking for them changes nothing else.
  const withTests = fs.existsSync(path.join(root, 'test', 'native'))
  const options = [
    `-DATTN_TESTS=${withTests ? 'ON' : 'OFF'}`,
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${release}`,
    `-DCMAKE_RUNTIME_OUTPUT_DIRECTORY=${release}`,
    ...(process.env.ATTN_CUDA ? [`-DATTN_CUDA=${process.env.ATTN_CUDA}`] : []),
    ...(process.env.ATTN_CMAKE_ARGS ?? '').split(/\s+/).filter(Boolean),
  ]
  return { cmakeJs, folder, options, compiler: process.env.CXX, root }
}

async function configure(setup) {
  const stamp = path.join(setup.folder, 'attn-setup.json')
  const text = JSON.stringify(setup)
  // CMakeLists.txt itself is watched by the generated build files: a change of it configures again during the build.
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === text) return
  fs.rmSync(setup.folder, { recursive: true, force: true })
  fs.mkdirSync(setup.folder, { recursive: true })
  if (setup.cmakeJs) {
    const definitions = setup.options.map((option) => option.replace(/^-D/, '--CD'))
    const args = [setup.cmakeJs, 'configure', '-d', root, '-O', setup.folder, '--log-level', 'warn', ...definitions]
    await run('cmake-js', process.execPath, args)
  } else {
    await cmake(['-S', root, '-B', setup.folder, '-DCMAKE_BUILD_TYPE=Release', ...setup.options])
  }
  fs.writeFileSync(stamp, text)
}

function findCmakeJs() {
  try {
    return path.join(path.dirname(require.resolve('cmake-js/package.json', { paths: [root] })), 'bin', 'cmake-js')
  } catch {
    return undefined
  }
}

function cmake(args) {
  return run('cmake', 'cmake', args)
}

/** Runs a tool, passing on what it says except for progress and chatter. Resolves to whether it reported progress. */
function run(name, command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    const [output, errors] = [new LineFilter(process.stdout), new LineFilter(process.stderr)]
    child.stdout.on('data', (data) => output.add(data))
    child.stderr.on('data', (data) => errors.add(data))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      errors.end()
      output.end()
      if (code === 0) resolve(output.worked)
      else reject(new Error(`${name} ended with ${code ?? signal}.\n${whatToInstall}`))
    })
  })
}

const progress = /^\[\s*\d+(\/\d+\]|%\] (Building|Linking|Generating))/
const chatter =
  /^(-- (?!attn: )|Not searching|ERROR OMG|ninja: (no work|Entering)|\[\s*\d+%\] Built target|\[0\/\d+\]|Consolidate|Scanning dep|g?make\[\d+\]: (Ent|Leav))/

/** Shows progress in one line on a terminal and not at all in a log; drops chatter; passes on all else. */
class LineFilter {
  worked = false
  #rest = ''
  #target

  constructor(target) {
    this.#target = target
  }

  add(data) {
    const lines = (this.#rest + data).split('\n')
    this.#rest = lines.pop()
    for (const line of lines) this.#line(line)
  }

  end() {
    if (this.#rest) this.#line(this.#rest)
    if (this.worked && process.stdout.isTTY) process.stdout.write('\r\x1b[K')
  }

  #line(line) {
    if (progress.test(line) && !line.startsWith('[0/')) {
      if (!this.worked) console.log('node-flash-attention: compiling the native addon')
      this.worked = true
      if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line.slice(0, (process.stdout.columns || 80) - 1)}`)
    } else if (!chatter.test(line)) {
      this.#target.write(`${line}\n`)
    }
  }
}

/** Copies a built file to where it is used, unless it is there already. Says whether it wrote. */
function place(from, to) {
  const built = fs.readFileSync(from)
  if (fs.existsSync(to) && fs.readFileSync(to).equals(built)) return false
  fs.mkdirSync(path.dirname(to), { recursive: true })
  // A new file put in place at once: a running process may have the old one mapped, another may be about to load it.
  const fresh = `${to}.${process.pid}`
  fs.copyFileSync(from, fresh)
  fs.renameSync(fresh, to)
  return true
}

function executable(name) {
  return process.platform === 'win32' ? `${name}.exe` : name
}

main().catch((error) => {
  console.error(`\nnode-flash-attention: the native addon was not built: ${error.message}`)
  process.exitCode = 1
})
