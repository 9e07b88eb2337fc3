import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')

/** What each example prints, in full: an example is a promise about the package. */
const expected: Record<string, string> = {
  '01-first-attention.mts': `
out [ 1, 256, 8, 64 ] lse [ 1, 8, 256 ]
first token returns its own value: true`,
  '02-packed-sequences.mts': `
packed out [ 18, 4, 32 ]
sequence of 5: same as alone: true
sequence of 1: same as alone: true
sequence of 12: same as alone: true`,
  '03-paged-decode.mts': `
prefill [ 1, 40, 8, 64 ] pages 3
decode [ 2, 1, 8, 64 ] lengths [ 41, 41 ]
decode [ 2, 1, 8, 64 ] lengths [ 42, 42 ]
decode [ 2, 1, 8, 64 ] lengths [ 43, 43 ]
pages in use 4 of 64
after closing 0`,
  '04-gqa-module.mts': `
tokens in the cache: 24
the cached steps agree with one pass: true`,
  '05-mla-module.mts': `
both forms agree: true
next token: [ 1, 1, 256 ]
bytes per token: 320 here, 2048 with MHA of the same heads`,
  '06-safetensors.mts': `
model.layers.0.self_attn.q_proj.weight [ 64, 64 ]
model.layers.0.self_attn.k_proj.weight [ 32, 64 ]
model.layers.0.self_attn.v_proj.weight [ 32, 64 ]
model.layers.0.self_attn.o_proj.weight [ 64, 64 ]
out [ 1, 3, 64 ]`,
  '07-merge-states.mts': `
outputs agree: true
log-sum-exps agree: true`,
  '08-float8.mts': `
codes float8_e4m3 [ 2, 200, 2, 64 ] scales [ 2, 2 ]
less than a sixteenth off: true`,
}

const names = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.mts')).sort()

test('every example has an expected output', () => {
  expect(names).toEqual(Object.keys(expected))
})

test.each(names)('%s', (name) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(root, 'scripts', 'run-example.js'), name], { encoding: 'utf8' })
  expect({ stdout: stdout.trim(), stderr, status }).toEqual({ stdout: expected[name]?.trim(), stderr: '', status: 0 })
})

test.each(names)('%s stays short', (name) => {
  expect(readFileSync(join(root, 'examples', name), 'utf8').split('\n').length).toBeLessThanOrEqual(40)
})
