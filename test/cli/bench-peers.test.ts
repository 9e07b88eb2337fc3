import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onnxModel } from '../../lib/cli/bench/peers/onnx-model'
import type { BenchReport } from '../../lib/cli/bench/report'
import { runCli } from './run-cli'

const folder = mkdtempSync(join(tmpdir(), 'peers-'))
afterAll(() => { rmSync(folder, { recursive: true }) })

const shape = ['--preset', 'study', '--heads', '4', '--kv-heads', '2', '--head-dim', '16', '--lengths', '8', '--seconds', '4', '--rounds', '3', '--json']

test('a model of one node is the bytes of its protocol buffer', () => {
  const x = { name: 'x', type: 'float32', rank: 1 } as const
  const model = onnxModel({ op: 'F', domain: '', attributes: { n: 300 }, inputs: [x, null], outputs: [x] })
  expect(model.subarray(0, 2).toString('hex')).toBe('080a') // ir_version 10
  const hex = model.toString('hex')
  expect(hex).toContain('0a0178' + '0a00' + '120178') // inputs x and none, output x
  expect(hex).toContain('0a016e' + '18ac02' + 'a00102') // n = 300, an integer
  expect(hex).toContain('1017') // opset 23
})

describe('beside a missing library', () => {
  test('onnxruntime: names the command that installs it', () => {
    const { status, stdout, stderr } = runCli(['bench', 'decode', '--peer', 'onnxruntime', ...shape], {}, folder)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('--peer onnxruntime: onnxruntime-node was not found')
    expect(stderr).toContain('npm ci --ignore-scripts --prefix bench/peers')
  })

  test('torch: says why', () => {
    const { status, stdout, stderr } = runCli(['bench', 'decode', '--peer', 'torch', ...shape], fakeCommand('#!/bin/sh\necho "no module named torch" >&2\nexit 1\n'))
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('--peer torch needs a python3 with PyTorch: no module named torch')
  })
})

/** An environment whose python3 is this program. */
function fakeCommand(text: string): Record<string, string> {
  const bin = mkdtempSync(join(folder, 'bin-'))
  writeFileSync(join(bin, 'python3'), text)
  chmodSync(join(bin, 'python3'), 0o755)
  return { PATH: `${bin}:${process.env['PATH'] ?? ''}` }
}

// Speaks torch_peer.py's protocol and computes attention by loops, so that both ends are held to it without PyTorch.
const fakeTorch = (wrong: number) => `#!${process.execPath}
if (process.argv.includes('--version')) { console.log('9.9.9'); process.exit(0) }
let open
const { readFileSync, writeFileSync } = require('node:fs')
const numbers = (file) => new Float32Array(Uint8Array.from(readFileSync(file)).buffer)
const answers = {
  backends: ({ latent }) => (latent ? [{ op: 'MATMUL' }] : [{ op: 'MATH' }, { op: 'CUDNN_ATTENTION', refused: 'on a GPU only' }]),
  open: (question) => { open = question; return true },
  run: () => ({ seconds: 0.5 }),
  read: ({ out }) => { writeFileSync(out, (open.ckv ? latent(open) : attention(open))); return true },
}
function attention(s) {
  const [q, k, v] = [numbers(s.q), numbers(s.k), numbers(s.v)], d = s.headDimQk, e = s.headDimVo, group = s.numQoHeads / s.numKvHeads
  const out = new Float32Array(s.batch * s.qoLen * s.numQoHeads * e)
  for (let b = 0; b < s.batch; ++b) for (let i = 0; i < s.qoLen; ++i) for (let h = 0; h < s.numQoHeads; ++h) {
    const keys = s.causal ? s.kvLen - s.qoLen + i + 1 : s.kvLen, at = ((b * s.qoLen + i) * s.numQoHeads + h)
    const row = (j) => (b * s.kvLen + j) * s.numKvHeads + Math.floor(h / group)
    let sum = 0
    for (let j = 0; j < keys; ++j) {
      let score = 0
      for (let x = 0; x < d; ++x) score += q[at * d + x] * k[row(j) * d + x]
      const weight = Math.exp(score / Math.sqrt(d))
      sum += weight
      for (let x = 0; x < e; ++x) out[at * e + x] += weight * v[row(j) * e + x]
    }
    for (let x = 0; x < e; ++x) out[at * e + x] = out[at * e + x] / sum + ${wrong}
  }
  return out
}
function latent(s) {
  const [qNope, qPe, ckv, kPe] = [s.qNope, s.qPe, s.ckv, s.kPe].map(numbers), n = s.kvLen, h = s.numQoHeads, r = s.kvLoraRank, p = s.qkRopeHeadDim
  const out = new Float32Array(s.batch * h * r)
  for (let b = 0; b < s.batch; ++b) for (let i = 0; i < h; ++i) {
    const at = b * h + i
    let sum = 0
    for (let j = 0; j < n; ++j) {
      const key = b * n + j
      let score = 0
      for (let x = 0; x < r; ++x) score += qNope[at * r + x] * ckv[key * r + x]
      for (let x = 0; x < p; ++x) score += qPe[at * p + x] * kPe[key * p + x]
      const weight = Math.exp(score * s.softmaxScale)
      sum += weight
      for (let x = 0; x < r; ++x) out[at * r + x] += weight * ckv[key * r + x]
    }
    for (let x = 0; x < r; ++x) out[at * r + x] = out[at * r + x] / sum + ${wrong}
  }
  return out
}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const question = JSON.parse(line)
  console.log(JSON.stringify({ answer: answers[question.command](question) }))
})
`

describe('torch, by a stand-in that speaks its protocol', () => {
  test('gives its own times, and the ways it refused', () => {
    const { status, stdout, stderr } = runCli(['bench', 'prefill', 'decode', '--peer', 'torch', ...shape], fakeCommand(fakeTorch(0)))
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.not.stringMatching(/error|warning/i) as string })
    const { cases } = JSON.parse(stdout) as BenchReport
    expect(cases.map(({ op }) => op)).toEqual(['prefill', 'decode'])
    for (const { peer } of cases) {
      expect(peer).toMatchObject({ name: 'torch', version: '9.9.9', op: 'MATH' })
      expect(peer?.endToEnd).toBeUndefined()
      expect(peer?.kernel.peer.median).toBe(0.5)
      expect(peer?.others).toEqual([{ op: 'CUDNN_ATTENTION', refused: 'on a GPU only' }])
    }
  })

  test('computes absorbed MLA by matrix products', () => {
    const { status, stdout } = runCli(['bench', 'mla-decode', '--peer', 'torch', ...shape, '--batch', '2'], fakeCommand(fakeTorch(0)))
    expect(status).toBe(0)
    const { cases } = JSON.parse(stdout) as BenchReport
    expect(cases.map(({ op, peer }) => [op, peer?.op, peer?.kernel.peer.median, peer?.others])).toEqual([['mla-decode', 'MATMUL', 0.5, []]])
  })

  test.each(['decode', 'mla-decode'])('is not timed when it computes something else: %s', (op) => {
    const { status, stderr } = runCli(['bench', op, '--peer', 'torch', ...shape], fakeCommand(fakeTorch(0.01)))
    expect(status).toBe(1)
    expect(stderr).toMatch(/computes something else: number \d+ is /)
  })
})
