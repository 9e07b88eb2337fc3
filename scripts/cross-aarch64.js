#!/usr/bin/env node
'use strict'
// Compiles the addon and the C++ tests for AArch64 into build/aarch64 and runs the tests under emulation.
//   Debian, Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user
//   node scripts/cross-aarch64.js [part of a test's name]…   some tests only
const { spawnSync } = require('node:child_process')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '..')
const folder = path.join(root, 'build', 'aarch64')
const system = ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64', '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++']

run('cmake', ['-S', root, '-B', folder, ...system, '-DATTN_TESTS=ON', '-DATTN_CUDA=OFF'])
run('cmake', ['--build', folder, '--parallel', String(os.availableParallelism())])
run('qemu-aarch64', ['-L', '/usr/aarch64-linux-gnu', path.join(folder, 'attn_tests'), ...process.argv.slice(2)])

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (status === 0) return
  if (error) console.error(`${command} does not run here: ${error.message}`)
  process.exit(status || 1)
}
