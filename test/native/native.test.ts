import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** The C++ tests: kernels and core without Node. `npm test` builds them; build/Release/attn_tests <part of a name> runs some. */
test('the C++ tests pass', () => {
  const { stdout, stderr, status, error } = spawnSync(join(__dirname, '..', '..', 'build', 'Release', 'attn_tests'), { encoding: 'utf8', maxBuffer: 1 << 26 })
  const failed = stdout.split('\n').filter((line) => /^(FAILED| {2})/.test(line))
  expect({ failed, stderr, status, error }).toEqual({ failed: [], stderr: '', status: 0, error: undefined })
  expect(stdout).toMatch(/\n0 of \d+ tests failed\n$/)
}, 600_000)
