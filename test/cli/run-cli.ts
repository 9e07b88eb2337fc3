import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')

export interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line as a user does: the compiled program in a process of its own, its output in pipes. */
export function runCli(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd: string = root): Ran {
  // `npm test` has compiled it; a bare `jest` may be the first to need it.
  if (!existsSync(main)) {
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stdout)
  }
  const { FORCE_COLOR: _, NODE_OPTIONS: __, ...inherited } = process.env
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { ...inherited, ...env }, cwd, timeout: 110_000 })
  if (error) throw error
  return { status, stdout, stderr }
}

/** The environment of a machine where no addon can be found. */
export const withoutAddon = { NODE_FLASH_ATTENTION_PREBUILD: join(root, 'test', 'no-such-folder') }
