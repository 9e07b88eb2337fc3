#!/usr/bin/env node
'use strict'
// npm run test:cuda   compiles with ATTN_CUDA=ON and runs the tests of ops, tensors, caches, modules and commands for device cuda on the virtual GPU
// npm run test:gpu    the same on this machine's GPU; fails where there is none
// More arguments go to jest. All of it on the virtual GPU ends with an account of what was launched: no finding, no kernel left out.
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { accountOf } = require('./vgpu-account')

const root = path.join(__dirname, '..')
const onGpu = process.argv.includes('--gpu')
const more = process.argv.slice(2).filter((argument) => argument !== '--gpu')
// All that has a device to choose, but layers at the shapes of published models: the virtual GPU would take hours.
const suites = [
  'test/cuda', 'test/ops', 'test/tensor', 'test/cache', 'test/modules/bad', 'test/modules/grouped', 'test/modules/multi', 'test/weights',
  'test/lifetime/queued-work', 'test/types/kernel-rows',
]
// What has kernels of its own for compute capability 9.0 runs once more, on a virtual GPU that has it.
const hopperSuites = [
  'test/ops/flash-attention', 'test/ops/paged-attention', 'test/ops/mla', 'test/cuda/decode', 'test/cuda/prefill', 'test/cuda/kernels',
  'test/types/kernel-rows',
]

run('npm', ['run', '--silent', 'build:ts'])
run(process.execPath, ['scripts/build-native.js'], { ATTN_CUDA: 'ON' })
const jest = [require.resolve('jest/bin/jest'), ...(more.length > 0 ? more : [...suites, ...(onGpu ? [] : ['test/vgpu'])])]
// Own kernels, whatever is installed: verify runs each row by name.
const only = { ATTN_TEST_DEVICES: 'cuda:0', ATTN_VGPU: '1', NODE_FLASH_ATTENTION_CUBLASLT: 'off' }
if (onGpu) {
  run(process.execPath, [...jest, '-i'], only)  // one GPU: the tests share it
} else {
  const report = path.join(root, 'build', 'vgpu-report.json')
  fs.rmSync(report, { force: true })
  // The kernels run on the CPU, one thread per process: as many processes as cores.
  const pass = (tests, env) => {
    const command = ['scripts/vgpu.js', process.execPath, ...tests, '--maxWorkers=100%']
    return spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit', env: { ...process.env, ...only, VGPU_REPORT: report, ...env } }).status === 0
  }
  const passed = [pass(jest, {}), more.length > 0 || pass([jest[0], ...hopperSuites], { VGPU_CC: '90' })]
  const { text, wrong } = accountOf(report, path.join(root, 'native', 'cuda', 'registers.txt'))
  console.log(text)
  // A part of the tests does not launch every kernel.
  const failures = more.length === 0 ? wrong : []
  if (failures.length > 0) console.error(failures.join('\n'))
  process.exitCode = passed.every(Boolean) && failures.length === 0 ? 0 : 1
}

function run(command, args, env = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (done.error) throw done.error
  if (done.status !== 0) process.exit(done.status ?? 1)
}
