#!/usr/bin/env node
'use strict'
// Formats native/ and test/native with .clang-format; with --check only says which files differ.
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const files = ['native', 'test/native'].filter((folder) => fs.existsSync(path.join(root, folder))).flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true })
    .filter((name) => /\.(h|cpp)$/.test(name))
    .map((name) => path.join(folder, name)),
)
const how = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
const { status, error } = spawnSync('clang-format', [...how, ...files], { cwd: root, stdio: 'inherit' })
if (error) console.error(`clang-format does not run here: ${error.message}\n  Debian, Ubuntu: apt-get install clang-format`)
process.exitCode = status ?? 1
