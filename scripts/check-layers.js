#!/usr/bin/env node
'use strict'
// Includes and imports point only down (docs/architecture.md), and no file grows beyond 500 lines.
// Prints file:line for each that does not, and then ends with 1. An argument names another root, for the tests.
const fs = require('node:fs')
const path = require('node:path')

const maxLines = 500

/** Which rooms a room of native/ may include; paths are relative to native/. */
const nativeRooms = {
  compat: [],
  core: ['core'],
  cpu: ['core', 'cpu'],
  cuda: ['core', 'cuda'],
  binding: ['core', 'cpu', 'cuda', 'binding'],
}
/** What a source of each room may include with <>; everything else of the system is free. */
const nodeHeaders = /^(napi|node_api|js_native_api|uv|v8|node)[\w-]*\.h$/

/** lib/ from the bottom up. A room imports itself and the rooms of lower levels; rooms of one level do not know each other. */
const libLevels = [
  ['errors', 'devices', 'check', 'load-addon', 'native'],
  ['tensor'],
  ['cache'],
  ['ops', 'kernels'],
  ['modules'],
  ['weights', 'costs'],
  ['cli'],
  ['index'],
]
/** The files below everything, which may know each other. */
const foundation = new Set(libLevels[0])

const root = path.resolve(process.argv[2] ?? path.join(__dirname, '..'))
const complaints = []

for (const file of sources('native', /\.(h|cpp|def)$/)) checkIncludes(file)
for (const file of sources('lib', /\.ts$/)) checkImports(file)
for (const file of ['native', 'lib', 'test', 'scripts', 'examples'].flatMap((folder) => sources(folder, /\.(h|cpp|def|ts|js)$/))) checkLength(file)

for (const complaint of complaints) console.error(complaint)
process.exitCode = complaints.length > 0 ? 1 : 0

function checkIncludes(file) {
  const room = file.split('/')[1]
  const allowed = nativeRooms[room]
  if (!allowed) return complain(file, 1, `native/${room} is no room of the house`)
  for (const { text: line, number } of lines(file)) {
    const found = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line)
    if (!found) continue
    const [, bracket, included] = found
    if (bracket === '<' || !included.includes('/')) {
      if (nodeHeaders.test(included) && room !== 'binding') complain(file, number, `${included} is for native/binding only`)
      if (bracket === '"' && !nodeHeaders.test(included)) complain(file, number, `${included}: write the path from native/`)
    } else if (included.startsWith('.')) {
      complain(file, number, `${included}: write the path from native/`)
    } else if (!allowed.includes(included.split('/')[0])) {
      complain(file, number, `native/${room} must not include ${included}`)
    }
  }
}

function checkImports(file) {
  const room = libRoom(file)
  const level = levelOf(room)
  if (level < 0) return complain(file, 1, `lib/${room} has no place in the list of scripts/check-layers.js`)
  for (const { text: line, number } of lines(file)) {
    for (const [, imported] of line.matchAll(/(?:\bfrom|\bimport|\brequire)\s*\(?\s*['"](\.[^'"]*)['"]/g)) {
      const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), imported))
      if (!target.startsWith('lib/')) {
        // The command `build` runs the builder that ships beside lib, where there may be no addon yet; index reads package.json.
        if (room !== 'cli' && target !== 'package.json') complain(file, number, `${imported} leaves lib/`)
        continue
      }
      const targetRoom = libRoom(target)
      if (targetRoom === room || (foundation.has(room) && foundation.has(targetRoom))) continue
      // The command line is a user of the package: it may take everything from the index.
      if (room === 'cli' && targetRoom === 'index') continue
      if (levelOf(targetRoom) >= level) complain(file, number, `lib/${room} must not import ${targetRoom}`)
    }
  }
}

function checkLength(file) {
  const count = lines(file).length
  if (count > maxLines) complain(file, maxLines + 1, `${count} lines, at most ${maxLines}`)
}

/** lib/ops/rope.ts -> ops, lib/errors.ts -> errors */
function libRoom(file) {
  return file.split('/')[1].replace(/\.ts$/, '')
}

function levelOf(room) {
  return libLevels.findIndex((rooms) => rooms.includes(room))
}

function sources(folder, pattern) {
  const top = path.join(root, folder)
  if (!fs.existsSync(top)) return []
  return fs
    .readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)).split(path.sep).join('/'))
    .filter((file) => !file.includes('node_modules/'))
    .sort()
}

function lines(file) {
  const text = fs.readFileSync(path.join(root, file), 'utf8')
  return text.replace(/\n$/, '').split('\n').map((line, i) => ({ text: line, number: i + 1 }))
}

function complain(file, line, why) {
  complaints.push(`${file}:${line}: ${why}`)
}
