'use strict'
// Looks for the tools that a build needs before CMake does, whose report of a missing one is a page long.
const { spawnSync } = require('node:child_process')

const minimumCmake = [3, 22]

const whatToInstall =
  '  It needs CMake 3.22+, a C++20 compiler (g++ 12+ or clang 14+) and make or ninja.\n' +
  '  Debian, Ubuntu: apt-get install cmake g++ make    Fedora: dnf install cmake gcc-c++ make\n' +
  '  macOS: xcode-select --install && brew install cmake    Windows: Visual Studio 2022 with C++ and CMake'

/** What is missing, in words; empty when a build can start. */
function missingTools() {
  const missing = []
  const cmake = versionOf('cmake')
  if (cmake === undefined) missing.push('cmake')
  else if (isOlder(cmake, minimumCmake)) missing.push(`cmake ${minimumCmake.join('.')} or newer (this is ${cmake.join('.')})`)
  // With Visual Studio neither compiler nor build tool is on PATH, and CMake finds both.
  if (process.platform !== 'win32') {
    const chosen = process.env.CXX?.trim().split(/\s+/)[0]
    const compilers = chosen ? [chosen] : ['c++', 'g++', 'clang++']
    if (!compilers.some(answers)) missing.push(chosen ? `the C++ compiler ${chosen} (named by CXX)` : 'a C++ compiler')
    if (!['make', 'gmake', 'ninja', 'ninja-build'].some(answers)) missing.push('make or ninja')
  }
  return missing
}

function answers(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

/** [major, minor] as the command tells it; undefined where it does not run. */
function versionOf(command) {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const found = status === 0 ? /(\d+)\.(\d+)/.exec(stdout) : null
  return found ? [Number(found[1]), Number(found[2])] : undefined
}

function isOlder([major, minor], [minMajor, minMinor]) {
  return major < minMajor || (major === minMajor && minor < minMinor)
}

module.exports = { missingTools, whatToInstall }
