import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { once } from 'node:events'
import { CommandError } from '../../command-error'
import type { AttentionInputs, AttentionShape, LatentInputs, LatentShape, Peer, PeerVariant, Refusal } from './peer'

const script = join(__dirname, '..', '..', '..', '..', 'bench', 'peers', 'torch_peer.py')

/**
 * A python3 with PyTorch, which computes in a process of its own, on its GPU where it has one: scaled_dot_product_attention with each of
 * its backends, absorbed MLA by matrix products.
 */
export function torchPeer(): Peer {
  const found = spawnSync('python3', [script, '--version'], { encoding: 'utf8' })
  if (found.error || found.status !== 0) {
    const reason = found.error?.message ?? (found.stderr.trim().split('\n').at(-1) || `python3 ended with ${found.status}`)
    throw new CommandError(`--peer torch needs a python3 with PyTorch: ${reason}`)
  }
  return { name: 'torch', version: found.stdout.trim(), open: openTorch, openLatent: openTorch }
}

type Bits = Float32Array | Uint16Array

async function openTorch(
  shape: AttentionShape | LatentShape, inputs: AttentionInputs | LatentInputs, threads: number,
): Promise<readonly (PeerVariant | Refusal)[]> {
  const first = new TorchProcess()
  let backends: readonly { readonly op: string; readonly refused?: string }[]
  try {
    backends = (await first.ask({ command: 'backends', latent: 'kvLoraRank' in shape })) as typeof backends
  } finally {
    first.end()
  }
  const variants: (PeerVariant | Refusal)[] = []
  for (const { op, refused } of backends) {
    if (refused !== undefined) variants.push({ op, refused })
    else variants.push(await variantOf(op, shape, inputs, threads))
  }
  return variants
}

async function variantOf(
  op: string, shape: AttentionShape | LatentShape, inputs: AttentionInputs | LatentInputs, threads: number,
): Promise<PeerVariant | Refusal> {
  const torch = new TorchProcess()
  const text = (bits: Bits) => Buffer.from(bits.buffer, bits.byteOffset, bits.byteLength).toString('base64')
  const tensors = Object.fromEntries(Object.entries({ ...inputs }).map(([name, bits]: [string, Bits]) => [name, text(bits)]))
  const times: number[] = []
  const run = async (): Promise<Bits> => {
    const { out } = (await torch.ask({ command: 'run', read: true })) as { readonly out: string }
    const bytes = Uint8Array.from(Buffer.from(out, 'base64')).buffer
    return shape.dtype === 'float32' ? new Float32Array(bytes) : new Uint16Array(bytes)
  }
  try {
    await torch.ask({ command: 'open', op, threads, ...shape, ...tensors })
    await run()
  } catch (error) {
    torch.end()
    return { op, refused: (error as Error).message.slice(0, 200) }
  }
  return {
    op, outside: true, run,
    runRecorded: async () => { times.push(((await torch.ask({ command: 'run', read: false })) as { readonly seconds: number }).seconds) },
    kernelTimes: () => Promise.resolve(times),
    [Symbol.asyncDispose]: () => {
      torch.end()
      return Promise.resolve()
    },
  }
}

/** One line of JSON there, one line back. */
class TorchProcess {
  readonly #child: ChildProcess
  readonly #lines: Interface
  /** Rejects when the process ends or does not start. */
  readonly #ended: Promise<never>

  constructor() {
    this.#child = spawn('python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout! })
    this.#ended = once(this.#child, 'exit').then(() => { throw new Error('python3 ended') })
    this.#ended.catch(() => undefined)
  }

  async ask(question: object): Promise<unknown> {
    if (this.#child.exitCode !== null) throw new Error(`python3 ended with ${this.#child.exitCode}`)
    this.#child.stdin!.write(`${JSON.stringify(question)}\n`)
    const [line] = (await Promise.race([once(this.#lines, 'line'), this.#ended])) as [string]
    const answer = JSON.parse(line) as { readonly error?: string; readonly answer?: unknown }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.answer
  }

  end(): void {
    this.#lines.close()
    this.#child.stdin!.end()
    this.#child.kill()
  }
}
