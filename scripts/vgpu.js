#!/usr/bin/env node
'use strict'
// npm run vgpu -- COMMAND…: runs a command with the virtual GPU in the place of NVIDIA's driver (docs/virtual-gpu.md).
//   --build    only builds build/Release/vgpu/libcuda.so.1
// VGPU_CC=80|86|89|90|100|120 pretends a compute capability; the other VGPU_* variables are in docs/virtual-gpu.md.
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '..')
const folder = path.join(root, 'build', 'Release', 'vgpu')

function cmake(args) {
  const done = spawnSync('cmake', args, { cwd: root, encoding: 'utf8' })
  if (done.error) throw done.error
  if (done.status !== 0) throw new Error(`cmake ${args.join(' ')}:\n${done.stdout}${done.stderr}`)
}

/** Test files run side by side, and each may be the first to need the library: one builds, the others wait. */
function withLock(work) {
  const lock = path.join(root, 'build', 'vgpu.lock')
  fs.mkdirSync(path.dirname(lock), { recursive: true })
  const longest = 10 * 60_000
  for (;;) {
    try {
      fs.mkdirSync(lock)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      // Left by a build that was killed.
      const { mtimeMs } = fs.statSync(lock, { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() }
      if (Date.now() - mtimeMs > longest) fs.rmSync(lock, { recursive: true, force: true })
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
  try {
    return work()
  } finally {
    fs.rmSync(lock, { recursive: true, force: true })
  }
}

/** Builds the library where it is not up to date and returns its folder. */
function buildVirtualGpu() {
  return withLock(build)
}

function build() {
  const tree = path.join(root, 'build', 'vgpu')
  if (!fs.existsSync(path.join(tree, 'CMakeCache.txt'))) {
    cmake(['-S', 'test/vgpu', '-B', tree, '-DCMAKE_BUILD_TYPE=Release'])
  }
  cmake(['--build', tree, '--config', 'Release', '--parallel', String(os.availableParallelism())])
  const built = fs.realpathSync(path.join(tree, 'libcuda.so.1'))
  const target = path.join(folder, 'libcuda.so.1')
  if (!fs.existsSync(target) || !fs.readFileSync(target).equals(fs.readFileSync(built))) {
    fs.mkdirSync(folder, { recursive: true })
    // Put in place at once: a running process may have the old one mapped.
    const fresh = `${target}.${process.pid}`
    fs.copyFileSync(built, fresh)
    fs.renameSync(fresh, target)
  }
  return folder
}

function main() {
  const [command, ...args] = process.argv.slice(2)
  buildVirtualGpu()
  if (command === undefined) throw new Error('which command? npm run vgpu -- npx jest test/ops')
  if (command === '--build') return
  const paths = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  // NVIDIA's libraries need NVIDIA's driver.
  const env = { NODE_FLASH_ATTENTION_CUBLASLT: 'off', ...process.env, LD_LIBRARY_PATH: paths }
  const done = spawnSync(command, args, { stdio: 'inherit', env })
  if (done.error) throw done.error
  process.exitCode = done.status ?? 1
}

module.exports = { buildVirtualGpu }
if (require.main === module) {
  try {
    main()
  } catch (error) {
    console.error(`vgpu: ${error.message}`)
    process.exitCode = 1
  }
}
