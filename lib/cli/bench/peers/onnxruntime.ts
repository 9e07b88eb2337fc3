import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cwd } from 'node:process'
import { Tensor } from '../../../tensor/tensor'
import { CommandError } from '../../command-error'
import { type OnnxNode, type OnnxType, onnxModel } from './onnx-model'
import type { AttentionInputs, AttentionShape, Peer, PeerVariant, Refusal } from './peer'

// onnxruntime-node is no dependency of this package: it is used where the user installed it. The parts used here, typed:
interface OrtTensor {
  readonly data: Float32Array | Uint16Array | Int32Array
}
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>, fetches?: Readonly<Record<string, OrtTensor | null>>): Promise<Readonly<Record<string, OrtTensor>>>
  endProfiling(): void
  release(): Promise<void>
}
interface Ort {
  readonly Tensor: new (type: OnnxType, data: ArrayBufferView, dims: readonly number[]) => OrtTensor
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> }
}

/** A model with what it is fed. `fetches` are a run's outputs that go into memory given beforehand. */
interface Way {
  readonly node: OnnxNode
  readonly feeds: Readonly<Record<string, OrtTensor>>
  readonly fetches?: () => Readonly<Record<string, OrtTensor | null>>
}

const installation = 'npm ci --ignore-scripts --prefix bench/peers (in a clone), or npm install --no-save --ignore-scripts onnxruntime-node@1.30.0'

export function onnxruntimePeer(): Peer {
  const { ort, version } = load()
  return {
    name: 'onnxruntime', version,
    open: async (shape, inputs, threads) => {
      const variants: (PeerVariant | Refusal)[] = []
      for (const [op, make] of Object.entries(waysOf)) {
        const way = make(ort, shape, inputs)
        variants.push(typeof way === 'string' ? { op, refused: way } : await variantOf(ort, op, way, threads))
      }
      return variants
    },
    openLatent: () => Promise.resolve([{ op: 'MultiHeadAttention', refused: 'no op for absorbed MLA' }]),
  }
}

/** From the current folder, or from the folder that keeps the peers of this repository. */
function load(): { ort: Ort; version: string } {
  for (const folder of [cwd(), join(cwd(), 'bench', 'peers')]) {
    try {
      const require = createRequire(join(folder, 'package.json'))
      const { version } = require('onnxruntime-node/package.json') as { version: string }
      return { ort: require('onnxruntime-node') as Ort, version }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw new CommandError(`--peer onnxruntime does not load: ${(error as Error).message}`)
    }
  }
  throw new CommandError(`--peer onnxruntime: onnxruntime-node was not found. To install it for measuring: ${installation}`)
}

async function variantOf(ort: Ort, op: string, way: Way, threads: number): Promise<PeerVariant | Refusal> {
  const folder = mkdtempSync(join(tmpdir(), 'attn-peer-'))
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all', logSeverityLevel: 4 }
  const sessions: OrtSession[] = []
  const create = async (more: object) => {
    const session = await ort.InferenceSession.create(onnxModel(way.node), { ...options, ...more })
    sessions.push(session)
    return session
  }
  const dispose = async () => {
    await Promise.all(sessions.splice(0).map((session) => session.release()))
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const plain = await create({})
    const recorded = await create({ enableProfiling: true, profileFilePrefix: join(folder, 'run') })
    const run = async () => {
      const outputs = await plain.run(way.feeds, way.fetches?.())
      return outputs['out']?.data as Float32Array | Uint16Array
    }
    await run()
    return {
      op, outside: false, run,
      runRecorded: async () => { await recorded.run(way.feeds, way.fetches?.()) },
      // eslint-disable-next-line @typescript-eslint/require-await -- other peers have to wait for theirs
      kernelTimes: async () => {
        recorded.endProfiling()
        return readKernelTimes(folder)
      },
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    return { op, refused: (error as Error).message.split('\n')[0]?.slice(0, 200) ?? 'unknown' }
  }
}

/** Seconds of the model's one node in each run, from the trace that onnxruntime writes. */
function readKernelTimes(folder: string): number[] {
  const [file] = readdirSync(folder)
  if (file === undefined) return []
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as readonly { readonly cat: string; readonly name: string; readonly dur: number }[]
  return events.filter(({ cat, name }) => cat === 'Node' && name.endsWith('_kernel_time')).map(({ dur }) => dur / 1e6)
}

function attentionWay(ort: Ort, shape: AttentionShape, inputs: AttentionInputs): Way | string {
  const type = onnxType(shape)
  if (type === undefined) return `no ${shape.dtype} on the CPU`
  const value = (name: string) => ({ name, type, rank: 3 })
  return {
    node: {
      op: 'Attention', domain: '', attributes: { q_num_heads: shape.numQoHeads, kv_num_heads: shape.numKvHeads, is_causal: shape.causal ? 1 : 0 },
      inputs: [value('q'), value('k'), value('v')], outputs: [value('out')],
    },
    feeds: rowsOf(ort, type, shape, inputs),
  }
}

/** A way to do the shape, or why there is none. Rows of the peer's queries, keys and values are [heads · dim], as the package's are. */
const waysOf: Readonly<Record<string, (ort: Ort, shape: AttentionShape, inputs: AttentionInputs) => Way | string>> = {
  Attention: attentionWay,

  // The result goes where the package's goes, into a new array that is not cleared. Without fixed lengths the output's are not inferred.
  'Attention into an array': (ort, shape, inputs) => {
    const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo, dtype } = shape
    const way = attentionWay(ort, shape, inputs)
    if (typeof way === 'string') return way
    const dims = [batch, qoLen, numQoHeads * headDimVo]
    const lengths = [[batch, qoLen, numQoHeads * headDimQk], [batch, kvLen, numKvHeads * headDimQk], [batch, kvLen, numKvHeads * headDimVo]]
    const { node } = way
    return {
      ...way,
      node: {
        ...node, inputs: node.inputs.map((input, i) => input && { ...input, dims: lengths[i]! }), outputs: node.outputs.map((output) => ({ ...output, dims })),
      },
      fetches: () => ({ out: new ort.Tensor(onnxType(shape)!, Tensor.emptyBits(dims, dtype), dims) }),
    }
  },

  MultiHeadAttention: (ort, shape, inputs) => {
    const type = onnxType(shape)
    if (type === undefined) return `no ${shape.dtype} on the CPU`
    if (shape.numKvHeads !== shape.numQoHeads) return 'as many key and value heads as query heads only'
    const value = (name: string) => ({ name, type, rank: 3 })
    return {
      node: {
        op: 'MultiHeadAttention', domain: 'com.microsoft', attributes: { num_heads: shape.numQoHeads, unidirectional: shape.causal ? 1 : 0 },
        inputs: [value('q'), value('k'), value('v')], outputs: [value('out')],
      },
      feeds: rowsOf(ort, type, shape, inputs),
    }
  },

  // Always causal. Prompts come without a past; a decode step finds all keys but the newest in a cache that it writes to in place.
  GroupQueryAttention: (ort, shape, inputs) => {
    const type = onnxType(shape)
    if (type === undefined) return `no ${shape.dtype} on the CPU`
    if (shape.headDimVo !== shape.headDimQk) return 'values as wide as keys only'
    const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk } = shape
    const prompt = shape.causal && qoLen === kvLen
    if (!prompt && qoLen !== 1) return 'causal only'
    const value = (name: string, rank: number, of: OnnxType = type) => ({ name, type: of, rank })
    const node = {
      op: 'GroupQueryAttention', domain: 'com.microsoft', attributes: { num_heads: numQoHeads, kv_num_heads: numKvHeads },
      inputs: [
        value('q', 3), value('k', 3), value('v', 3), ...(prompt ? [null, null] : [value('past_k', 4), value('past_v', 4)]), value('lens', 1, 'int32'),
        value('total', 0, 'int32'),
      ],
      outputs: [value('out', 3), value('present_k', 4), value('present_v', 4)],
    }
    const lengths = {
      lens: new ort.Tensor('int32', new Int32Array(batch).fill(kvLen - 1), [batch]), total: new ort.Tensor('int32', Int32Array.of(kvLen), []),
    }
    if (prompt) return { node, feeds: { ...rowsOf(ort, type, shape, inputs), ...lengths } }
    const [width, cacheShape] = [numKvHeads * headDimQk, [batch, numKvHeads, kvLen, headDimQk]]
    const cache = (rows: Float32Array | Uint16Array) => new ort.Tensor(type, headsFirst(rows, batch, kvLen, numKvHeads, headDimQk), cacheShape)
    const newest = (rows: Float32Array | Uint16Array) => new ort.Tensor(type, lastRows(rows, batch, kvLen, width), [batch, 1, width])
    const [pastK, pastV] = [cache(inputs.k), cache(inputs.v)]
    return {
      node,
      feeds: {
        q: new ort.Tensor(type, inputs.q, [batch, 1, numQoHeads * headDimQk]), k: newest(inputs.k), v: newest(inputs.v), past_k: pastK, past_v: pastV,
        ...lengths,
      },
      fetches: () => ({ out: null, present_k: pastK, present_v: pastV }),
    }
  },
}

function onnxType({ dtype }: AttentionShape): OnnxType | undefined {
  return dtype === 'bfloat16' ? undefined : dtype
}

function rowsOf(ort: Ort, type: OnnxType, shape: AttentionShape, { q, k, v }: AttentionInputs): Readonly<Record<string, OrtTensor>> {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo } = shape
  return {
    q: new ort.Tensor(type, q, [batch, qoLen, numQoHeads * headDimQk]),
    k: new ort.Tensor(type, k, [batch, kvLen, numKvHeads * headDimQk]),
    v: new ort.Tensor(type, v, [batch, kvLen, numKvHeads * headDimVo]),
  }
}

/** [batch, len, heads, dim] -> [batch, heads, len, dim] */
function headsFirst<T extends Float32Array | Uint16Array>(rows: T, batch: number, len: number, heads: number, dim: number): T {
  const out = rows.slice() as T
  for (let b = 0; b < batch; ++b) {
    for (let i = 0; i < len; ++i) {
      for (let h = 0; h < heads; ++h) {
        const from = ((b * len + i) * heads + h) * dim
        out.set(rows.subarray(from, from + dim), ((b * heads + h) * len + i) * dim)
      }
    }
  }
  return out
}

/** The last row of each sequence of [batch, len, width]. */
function lastRows<T extends Float32Array | Uint16Array>(rows: T, batch: number, len: number, width: number): T {
  const out = rows.slice(0, batch * width) as T
  for (let b = 0; b < batch; ++b) out.set(rows.subarray(((b + 1) * len - 1) * width, (b + 1) * len * width), b * width)
  return out
}
