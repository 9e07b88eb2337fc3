import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
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
  shape: AttentionShape | LatentShape, inputs: AttentionInputs | LatentInputs, threads: number, only?: string,
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
    if (only !== undefined && op !== only) continue
    if (refused !== undefined) variants.push({ op, refused })
    else variants.push(await variantOf(op, shape, inputs, threads))
  }
  return variants
}

async function variantOf(
  op: string, shape: AttentionShape | LatentShape, inputs: AttentionInputs | LatentInputs, threads: number,
): Promise<PeerVariant | Refusal> {
  const torch = new TorchProcess()
  // Through files: long contexts have more numbers than a line of text may have.
  const folder = mkdtempSync(join(tmpdir(), 'torch-peer-'))
  const end = () => {
    torch.end()
    rmSync(folder, { recursive: true, force: true })
  }
  const times: number[] = []
  const run = async (): Promise<Bits> => {
    const file = join(folder, 'out')
    await torch.ask({ command: 'read', out: file })
    const bytes = Uint8Array.from(readFileSync(file)).buffer
    return shape.dtype === 'float32' ? new Float32Array(bytes) : new Uint16Array(bytes)
  }
  const runMany = async (calls: number) => ((await torch.ask({ command: 'run', calls })) as { readonly seconds: number }).seconds
  try {
    const files = Object.entries({ ...inputs }).map(([name, bits]: [string, Bits]) => {
      const file = join(folder, name)
      writeFileSync(file, bits)
      return [name, file]
    })
    await torch.ask({ command: 'open', op, threads, ...shape, ...(Object.fromEntries(files) as Record<string, string>) })
    await run()
  } catch (error) {
    end()
    return { op, refused: (error as Error).message.slice(0, 200) }
  }
  return {
    op, outside: true, run, runMany,
    runRecorded: async () => { times.push(await runMany(1)) },
    kernelTimes: () => Promise.resolve(times),
    [Symbol.asyncDispose]: () => {
      end()
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
