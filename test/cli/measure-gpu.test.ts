import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { runCli } from './run-cli'

const script = join(__dirname, '..', '..', 'scripts', 'measure-gpu.js')
// Hides the GPUs of a machine that has some.
const env = { ...process.env, CUDA_VISIBLE_DEVICES: '' }

function measure(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env })
  return { status, stdout, stderr }
}

test('without a GPU nothing is measured: it says what is missing and ends with 2', () => {
  const { status, stdout, stderr } = measure()
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toMatch(/^measure:gpu: no GPU to measure: .+\n$/)
})

test.each([['--seconds', '1', 'an integer of at least 10'], ['--scale', 'x', 'an integer of at least 1']])('%s %s is refused', (option, value, expected) => {
  expect(measure(option, value)).toEqual({ status: 1, stdout: '', stderr: `measure:gpu: ${option}: expected ${expected}, received '${value}'\n` })
})

test.each([
  [['--scale', '2'], /^error: --scale: expected a GPU in --device/],
  [['--peer', 'torch'], /^error: --peer: expected onnxruntime, /],
])('targets %j is for GPUs', (args, message) => {
  const { status, stdout, stderr } = runCli(['targets', ...args])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toMatch(message)
})
