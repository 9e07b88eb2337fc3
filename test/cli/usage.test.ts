import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli, withoutAddon } from './run-cli'

const { version } = JSON.parse(readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8')) as { version: string }
const helpLine = (command: string) => `Help: npx node-flash-attention ${command}--help\n`

test('--version', () => {
  expect(runCli(['--version'], withoutAddon)).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
})

test.each([
  ['', ['info', 'verify', 'compare', 'build', 'npx node-flash-attention compare']],
  ['info', ['--json', 'npx node-flash-attention info --json']],
  ['verify', ['--op', '--json', 'npx node-flash-attention verify']],
  ['compare', ['--preset', 'llama-3-8b', 'deepseek-v3', '--lengths', 'default: 512,2048,8192', 'default: 8GiB', '--html', '--no-measure', 'Examples:']],
  ['build', ['npx node-flash-attention build']],
])('help of `%s` names what it takes and ends with examples, without an addon', (command, words) => {
  const { status, stdout, stderr } = runCli([...(command === '' ? [] : [command]), '--help'], withoutAddon)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const unwrapped = stdout.replace(/\s+/g, ' ')
  for (const word of words) expect(unwrapped).toContain(word)
  expect(stdout).toContain('Examples:\n  npx node-flash-attention')
})

test('no command at all prints the help and is a mistake', () => {
  const { status, stdout, stderr } = runCli([])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toContain('Usage: node-flash-attention')
})

test.each([
  [['inof'], "error: unknown command 'inof'\n(Did you mean info?)\n", helpLine('')],
  [['info', '--jsn'], "error: unknown option '--jsn'\n(Did you mean --json?)\n", helpLine('info ')],
  [['info', 'more'], "error: too many arguments for 'info'. Expected 0 arguments but got 1.\n", helpLine('info ')],
  [['compare', '--preset', 'gpt'], [
    "error: option '--preset <name>' argument 'gpt' is invalid. Allowed choices are llama-2-7b, llama-3-8b, llama-3-70b, mistral-7b, qwen3-8b, ",
    'gemma-2-9b, deepseek-v2-lite, deepseek-v2, deepseek-v3, study.\n',
  ].join(''), helpLine('compare ')],
  [['compare', '--lengths', '512,x'],
    "error: option '--lengths <list>' argument '512,x' is invalid. Expected lengths of at least 1, separated by commas: 512,2048,8192.\n", helpLine('compare ')],
  [['compare', '--batch', '0'], "error: option '--batch <count>' argument '0' is invalid. Expected an integer of at least 1.\n", helpLine('compare ')],
  [['compare', '--batch', '1.5'], "error: option '--batch <count>' argument '1.5' is invalid. Expected an integer of at least 1.\n", helpLine('compare ')],
  [['compare', '--memory', '8 bits'],
    "error: option '--memory <size>' argument '8 bits' is invalid. Expected a size such as 512MiB or 8GiB.\n", helpLine('compare ')],
  [['compare', '--seconds', '-1'],
    "error: option '--seconds <budget>' argument '-1' is invalid. Expected a number of seconds above 0.\n", helpLine('compare ')],
  [['compare', '--q-lora-rank', 'some'],
    "error: option '--q-lora-rank <rank>' argument 'some' is invalid. Expected an integer of at least 1, or 'none'.\n", helpLine('compare ')],
  [['compare', '--dtype', 'int8'], "error: option '--dtype <name>' argument 'int8' is invalid. Allowed choices are float32, float16, bfloat16.\n",
    helpLine('compare ')],
  [['compare', '--json', '--html'], "error: option '--html <file>' argument missing\n", helpLine('compare ')],
  [['compare', '--hidden', '64'], 'error: --heads: expected the number of query heads beside --hidden and --head-dim, received none\n', ''],
  [['compare', '--heads', '4'], 'error: --hidden: expected the hidden size beside --heads and --head-dim, received none\n', ''],
  [['compare', '--hidden', '64', '--heads', '3'], 'error: --heads: expected a divisor of --hidden (64), or --head-dim beside it, received 3\n', ''],
  [['compare', '--hidden', '64', '--heads', '4', '--kv-heads', '3'], 'error: --kv-heads: expected a divisor of the 4 heads, received 3\n', ''],
  [['compare', '--hidden', '64', '--heads', '4', '--head-dim', '7'], 'error: --head-dim: expected an even width, received 7\n', ''],
  [['compare', '--qk-rope-head-dim', '63'], 'error: --qk-rope-head-dim: expected an even width, received 63\n', ''],
  [['compare', '--preset', 'llama-3-8b', '--heads', '4'],
    'error: --preset: expected a preset or --hidden, --heads and --head-dim of your own, received both\n', ''],
  [['compare', '--device', 'tpu'], "error: --device: expected 'cpu', 'cuda' or 'cuda:<n>', received 'tpu'\n", ''],
])('%j ends with status 2 and one short text', (args, message, help) => {
  expect(runCli(args)).toEqual({ status: 2, stdout: '', stderr: message + help })
})

test.each([
  [['verify', '--op', 'nothing'], "error: no kernel of this build has the op 'nothing'. Its kernels: npx node-flash-attention info\n"],
])('%j fails with status 1 and one short text', (args, message) => {
  expect(runCli(args)).toEqual({ status: 1, stdout: '', stderr: message })
})

test.each([['info'], ['verify'], ['compare']])('`%s` without an addon says how to get one, without a stack', (command) => {
  const { status, stdout, stderr } = runCli([command], withoutAddon)
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  expect(stderr).toMatch(/^error: node-flash-attention: no native addon for /)
  expect(stderr).toContain('npx node-flash-attention build')
  expect(stderr).not.toMatch(/\n\s+at /)
})

test('colours only for who asks for them', () => {
  const args = ['compare', '--no-measure']
  const escape = String.fromCharCode(27)
  expect(runCli(args).stdout).not.toContain(escape)
  expect(runCli(args, { FORCE_COLOR: '1' }).stdout).toContain(escape)
  expect(runCli(args, { FORCE_COLOR: '1', NO_COLOR: '1' }).stdout).not.toContain(escape)
})
