import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const root = join(__dirname, '..', '..')

function checkLayers(folder: string): { complaints: string[]; status: number | null } {
  const { stderr, status } = spawnSync(process.execPath, [join(root, 'scripts', 'check-layers.js'), folder], { encoding: 'utf8' })
  return { complaints: stderr.split('\n').filter(Boolean), status }
}

test('the package keeps its layers', () => {
  expect(checkLayers(root)).toEqual({ complaints: [], status: 0 })
})

describe('a tree that does not', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'layers-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  test.each([
    ['native/core/a.cpp', '#include "core/b.h"\n#include "cpu/queue.h"', 'native/core/a.cpp:2: native/core must not include cpu/queue.h'],
    ['native/cpu/a.cpp', '#include "binding/args.h"', 'native/cpu/a.cpp:1: native/cpu must not include binding/args.h'],
    ['native/cpu/a.h', '#include <napi.h>', 'native/cpu/a.h:1: napi.h is for native/binding only'],
    ['native/core/a.h', '#include "node_api.h"', 'native/core/a.h:1: node_api.h is for native/binding only'],
    ['native/core/a.h', '#include "../core/b.h"', 'native/core/a.h:1: ../core/b.h: write the path from native/'],
    ['native/attic/a.h', '', 'native/attic/a.h:1: native/attic is no room of the house'],
    ['lib/ops/rope.ts', '\nimport { A } from \'../modules/a\'', 'lib/ops/rope.ts:2: lib/ops must not import modules'],
    ['lib/cache/a.ts', 'import { flashAttention } from \'../ops/attention\'', 'lib/cache/a.ts:1: lib/cache must not import ops'],
    ['lib/tensor/a.ts', 'import { B } from \'../ops/b\'', 'lib/tensor/a.ts:1: lib/tensor must not import ops'],
    ['lib/cache/a.ts', 'import type { C } from \'../index\'', 'lib/cache/a.ts:1: lib/cache must not import index'],
    ['lib/errors.ts', 'import { Tensor } from \'./tensor/tensor\'', 'lib/errors.ts:1: lib/errors must not import tensor'],
    ['lib/ops/a.ts', 'const b = require(\'../../scripts/b\')', 'lib/ops/a.ts:1: ../../scripts/b leaves lib/'],
    ['lib/attic/a.ts', '', 'lib/attic/a.ts:1: lib/attic has no place in the list of scripts/check-layers.js'],
    ['lib/ops/long.ts', '\n'.repeat(501), 'lib/ops/long.ts:501: 501 lines, at most 500'],
  ])('%s: %j', (file, text, complaint) => {
    mkdirSync(join(folder, dirname(file)), { recursive: true })
    writeFileSync(join(folder, file), text)
    expect(checkLayers(folder)).toEqual({ complaints: [complaint], status: 1 })
  })

  test('downward includes and imports pass', () => {
    for (const [file, text] of Object.entries({
      'native/binding/addon.cpp': '#include <napi.h>\n#include "core/registry.h"\n#include "cpu/backend.h"',
      'lib/modules/a.ts': 'import { rope } from \'../ops/rope\'\nimport { fail } from \'../check\'',
      'lib/check.ts': 'import { ArgumentError } from \'./errors\'',
    })) {
      mkdirSync(join(folder, dirname(file)), { recursive: true })
      writeFileSync(join(folder, file), text)
    }
    expect(checkLayers(folder)).toEqual({ complaints: [], status: 0 })
  })
})
