#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander'
import { addBenchOptions, addTargetsOptions } from './bench/arguments'
import type { BenchOp, BenchOptions } from './bench/request'
import type * as Bench from './bench/run'
import type * as Targets from './bench/targets/run'
import type { TargetsOptions } from './bench/targets/run'
import type * as Build from './build'
import { addCompareOptions } from './compare/arguments'
import type { CompareOptions } from './compare/request'
import type * as Run from './compare/run'
import type * as Info from './info'
import { packageFacts } from './package-facts'
import { colorsFor } from './style'
import type * as Verify from './verify'

// Commands are loaded when they run: `build`, `--help` and costs alone must work where there is no addon yet.

const usageStatus = 2

function program(): Command {
  const { name, version } = packageFacts()
  const root = new Command(name)
    .description('Attention kernels for Node.js: what this build has, whether it computes correctly here, and what MHA, GQA and MLA cost.')
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => { write(colorsFor(process.stderr).red(text)) } })
    .showHelpAfterError(`Help: npx ${name} --help`)
    .addHelpText('after', examples(['info', 'verify', 'compare --preset deepseek-v2-lite --html report.html', 'bench decode --lengths 1024,16384']))

  command(root, 'info', 'devices, instruction set and kernels of this build', ['info', 'info --json'])
    .addOption(json())
    .action((options: { json?: true }) => { (require('./info') as typeof Info).runInfo(options) })

  command(root, 'verify', 'run every kernel of this build against a float64 reference on this machine', [
    'verify',
    'verify --device cuda',
    'verify --op mlaDecode --json',
  ])
    .option('--device <id>', 'device whose kernels to run', 'cpu')
    .option('--op <name>', "only the kernels of this op, as 'info' names it")
    .addOption(json())
    .action((options: { device: string; op?: string; json?: true }) => { (require('./verify') as typeof Verify).runVerify(options) })

  addCompareOptions(command(root, 'compare', 'cost and speed of MHA, GQA and MLA layers at one size, side by side', [
    'compare',
    'compare --preset deepseek-v2-lite --lengths 1024,16384 --memory 16GiB',
    'compare --hidden 1024 --heads 16 --kv-heads 4 --layers 24 --seconds 10',
    'compare --preset llama-3-70b --no-measure --json',
  ]))
    .addOption(json())
    .action(async (options: CompareOptions) => { await (require('./compare/run') as typeof Run).runCompare(options) })

  addBenchOptions(command(root, 'bench', 'time single ops beside the measured peaks of this machine', [
    'bench',
    'bench decode paged --lengths 1024,4096,16384 --dtype float16',
    'bench prefill --preset llama-3-70b --lengths 2048 --seconds 20 --json',
    'bench --save',
    'bench --compare bench/results/before.json --fail-below 0.95',
  ]))
    .addOption(json())
    .action(async (ops: BenchOp[], options: BenchOptions) => { await (require('./bench/run') as typeof Bench).runBench(ops, options) })

  addTargetsOptions(command(root, 'targets', 'measure this version against the targets of its kernels, and beside other libraries', [
    'targets --threads 2',
    'targets --peer --save',
    'targets --device cuda --peer torch --save',
  ]))
    .addOption(json())
    .action(async (options: TargetsOptions) => { await (require('./bench/targets/run') as typeof Targets).runTargets(options) })

  command(root, 'build', 'compile the native addon on this machine (CMake 3.22 or newer, a C++20 compiler)', ['build'])
    .action(() => { (require('./build') as typeof Build).runBuild() })
  return root
}

function command(root: Command, name: string, description: string, lines: readonly string[]): Command {
  return root
    .command(name)
    .description(description)
    .helpOption('--help', 'print this help')
    .allowExcessArguments(false)
    .showHelpAfterError(`Help: npx ${root.name()} ${name} --help`)
    .addHelpText('after', examples(lines))
}

function json(): Option {
  return new Option('--json', 'print JSON, and nothing else, on standard output')
}

function examples(lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  npx node-flash-attention ${line}`).join('\n')}`
}

/** What a user did wrong ends with status 2, what went wrong with 1: each in one short text without a stack. */
function report(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : usageStatus
    return
  }
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  process.stderr.write(`${colorsFor(process.stderr).red(`error: ${typeof message === 'string' ? message : String(error)}`)}\n`)
  process.exitCode = code === 'INVALID_ARGUMENT' ? usageStatus : 1
}

// `… | head` closes the pipe early: nobody is left to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

program().parseAsync().catch(report)
