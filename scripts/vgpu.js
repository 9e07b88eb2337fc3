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

/** Builds the library where it is not up to date and returns its folder. */
function buildVirtualGpu() {
  const build = path.join(root, 'build', 'vgpu')
  if (!fs.existsSync(path.join(build, 'CMakeCache.txt'))) {
    cmake(['-S', 'test/vgpu', '-B', build, '-DCMAKE_BUILD_TYPE=Release'])
  }
  cmake(['--build', build, '--config', 'Release', '--parallel', String(os.availableParallelism())])
  const built = fs.realpathSync(path.join(build, 'libcuda.so.1'))
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
  const done = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, LD_LIBRARY_PATH: paths } })
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
