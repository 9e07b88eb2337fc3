import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = join(__dirname, '..')

/** The addon, untyped; an error names causes and cures. */
export function loadAddon(): unknown {
  const file = find()
  try {
    return require(file)
  } catch (cause) {
    throw new Error(
      `node-flash-attention: ${file} does not load here: ${(cause as Error).message}\n` +
        '  To compile it on this machine: npx node-flash-attention build',
      { cause },
    )
  }
}

function find(): string {
  // .path() and not node-gyp-build itself: we want our own words when there is nothing to load.
  const { path } = require('node-gyp-build') as { path: (dir: string) => string }
  try {
    return path(root)
  } catch (cause) {
    throw new Error(
      `node-flash-attention: no native addon for ${platform()} (node ${process.versions.node}).\n` +
        `  Prebuilt in this package: ${prebuilt()}.\n` +
        '  To compile it (CMake 3.22+, a C++20 compiler): npx node-flash-attention build',
      { cause },
    )
  }
}

function platform(): string {
  const header = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header
  const musl = process.platform === 'linux' && !header.glibcVersionRuntime ? '-musl' : ''
  return `${process.platform}-${process.arch}${musl}`
}

function prebuilt(): string {
  try {
    return readdirSync(join(root, 'prebuilds')).join(', ')
  } catch {
    return 'none'
  }
}
