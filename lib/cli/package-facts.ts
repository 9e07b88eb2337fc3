import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The folder of the package: two above the compiled dist/cli. */
export const packageRoot = join(__dirname, '..', '..')

/** Name and version from package.json. */
export function packageFacts(): { readonly name: string; readonly version: string } {
  const { name, version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { name: string; version: string }
  return { name, version }
}
