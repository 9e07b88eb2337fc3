import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError } from './command-error'
import { packageRoot } from './package-facts'

/** Compiles the addon with the package's own builder, which says by itself what is missing. Must not load the package: there may be no addon yet. */
export function runBuild(): void {
  const builder = join(packageRoot, 'scripts', 'build-native.js')
  if (!existsSync(builder)) throw new CommandError(`the builder is not in this package: ${builder} does not exist`)
  const { status, error, signal } = spawnSync(process.execPath, [builder], { cwd: packageRoot, stdio: 'inherit' })
  if (error) throw new CommandError(`the builder did not start: ${error.message}`)
  if (signal) throw new CommandError(`the builder was ended by ${signal}`)
  process.exitCode = status ?? 1
}
