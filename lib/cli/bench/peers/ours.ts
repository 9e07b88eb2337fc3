import { MlaKvCache } from '../../../cache/mla-kv-cache'
import type { PageBatch } from '../../../cache/page-batch'
import { devices } from '../../../devices'
import { flashAttention } from '../../../ops/flash-attention'
import { mlaDecode } from '../../../ops/mla-decode'
import { Tensor, type FloatTensor } from '../../../tensor/tensor'
import type { Shape } from '../../../tensor/shape'
import type { BenchSettings } from '../request'
import type { AttentionInputs, AttentionShape, LatentInputs, LatentShape, Peer } from './peer'

/** The package's side of a comparison. */
export interface Ours extends Disposable {
  /** The peer with the same numbers. */
  readonly open: (peer: Peer, threads: number) => ReturnType<Peer['open']>
  readonly endToEnd: () => Promise<Float32Array | Uint16Array>
  /** The op on tensors that exist, waited for. */
  readonly alone: () => Promise<void>
}

async function bitsOf(tensor: FloatTensor): Promise<Float32Array | Uint16Array> {
  return (await tensor.readBits()) as Float32Array | Uint16Array
}

/**
 * Host arrays in and a new host array out, or the op alone. The host arrays are wrapped once, as a peer's tensors are made of them once; the CPU
 * reads them where they lie and writes to the new array, another device is sent copies and its result is read.
 */
export class OursAttention implements Ours {
  readonly #shape: AttentionShape
  readonly #device: BenchSettings['device']
  readonly #wrapped: readonly [q: FloatTensor, k: FloatTensor, v: FloatTensor]
  readonly #made: readonly [q: FloatTensor, k: FloatTensor, v: FloatTensor, out: FloatTensor]

  static async create(shape: AttentionShape, { device }: Pick<BenchSettings, 'device'>): Promise<OursAttention> {
    const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo, dtype } = shape
    const normal = (seed: number, axes: readonly number[]): FloatTensor => Tensor.randn(axes, { dtype, device, seed })
    const q = normal(1, [batch, qoLen, numQoHeads, headDimQk])
    const k = normal(2, [batch, kvLen, numKvHeads, headDimQk])
    const v = normal(3, [batch, kvLen, numKvHeads, headDimVo])
    const out: FloatTensor = Tensor.empty([batch, qoLen, numQoHeads, headDimVo], { dtype, device })
    return new OursAttention(shape, device, [q, k, v, out], { q: await bitsOf(q), k: await bitsOf(k), v: await bitsOf(v) })
  }

  private constructor(
    shape: AttentionShape, device: BenchSettings['device'], made: readonly [FloatTensor, FloatTensor, FloatTensor, FloatTensor],
    private readonly inputs: AttentionInputs,
  ) {
    this.#shape = shape
    this.#device = device
    this.#made = made
    const { q, k, v } = inputs
    this.#wrapped = [this.#wrap(q, made[0].shape), this.#wrap(k, made[1].shape), this.#wrap(v, made[2].shape)]
  }

  #wrap(bits: Float32Array | Uint16Array, shape: Shape): FloatTensor {
    return Tensor.wrap(bits as Uint16Array, shape, this.#shape.dtype as 'float16')
  }

  open(peer: Peer, threads: number, only?: string): ReturnType<Peer['open']> {
    return peer.open(this.#shape, this.inputs, threads, only)
  }

  async endToEnd(): Promise<Float32Array | Uint16Array> {
    const { causal, dtype } = this.#shape
    if (this.#device === 'cpu') {
      const bits = Tensor.emptyBits(this.#made[3].shape, dtype)
      const out = this.#wrap(bits, this.#made[3].shape)
      flashAttention(...this.#wrapped, { causal, out })
      await devices.synchronize(this.#device)
      out.dispose()
      return bits
    }
    const there = this.#wrapped.map((tensor) => tensor.to(this.#device))
    const { out } = flashAttention(there[0]!, there[1]!, there[2]!, { causal })
    const bits = await bitsOf(out)
    for (const tensor of [...there, out]) tensor.dispose()
    return bits
  }

  enqueue(): void {
    const [q, k, v, out] = this.#made
    flashAttention(q, k, v, { causal: this.#shape.causal, out })
  }

  async alone(): Promise<void> {
    this.enqueue()
    await devices.synchronize(this.#device)
  }

  [Symbol.dispose](): void {
    for (const tensor of [...this.#made, ...this.#wrapped]) tensor.dispose()
  }
}

/** One token from a paged cache of latents that exists; there is no peer that could be given host arrays for it. */
export class OursLatent implements Ours {
  readonly #device: BenchSettings['device']
  readonly #kept: readonly Disposable[]

  static async create(shape: LatentShape, { device }: Pick<BenchSettings, 'device'>): Promise<OursLatent> {
    const { batch, kvLen, numQoHeads, kvLoraRank, qkRopeHeadDim, dtype } = shape
    const normal = (seed: number, axes: readonly number[]): FloatTensor => Tensor.randn(axes, { dtype, device, seed })
    const [qNope, qPe] = [normal(1, [batch, 1, numQoHeads, kvLoraRank]), normal(2, [batch, 1, numQoHeads, qkRopeHeadDim])]
    const [ckv, kPe] = [normal(3, [batch, kvLen, kvLoraRank]), normal(4, [batch, kvLen, qkRopeHeadDim])]
    const out: FloatTensor = Tensor.empty([batch, 1, numQoHeads, kvLoraRank], { dtype, device })
    const inputs = { qNope: await bitsOf(qNope), qPe: await bitsOf(qPe), ckv: await bitsOf(ckv), kPe: await bitsOf(kPe) }
    const pageSize = 64
    const cache = new MlaKvCache({ numPages: batch * Math.ceil(kvLen / pageSize), pageSize, kvLoraRank, qkRopeHeadDim, dtype, device })
    const sequences = Array.from({ length: batch }, () => cache.open())
    cache.append(sequences, ckv, kPe)
    return new OursLatent(shape, device, inputs, { qNope, qPe, out, cache, pages: cache.batch(sequences) }, [ckv, kPe])
  }

  private constructor(
    private readonly shape: LatentShape, device: BenchSettings['device'], private readonly inputs: LatentInputs,
    private readonly made: Readonly<Record<'qNope' | 'qPe' | 'out', FloatTensor>> & { readonly cache: MlaKvCache; readonly pages: PageBatch },
    others: readonly Disposable[],
  ) {
    this.#device = device
    this.#kept = [made.pages, made.cache, made.qNope, made.qPe, made.out, ...others]
  }

  open(peer: Peer, threads: number): ReturnType<Peer['open']> {
    return peer.openLatent(this.shape, this.inputs, threads)
  }

  async endToEnd(): Promise<Float32Array | Uint16Array> {
    await this.alone()
    return bitsOf(this.made.out)
  }

  async alone(): Promise<void> {
    const { qNope, qPe, cache, pages, out } = this.made
    mlaDecode(qNope, qPe, cache, pages, { softmaxScale: this.shape.softmaxScale, out })
    await devices.synchronize(this.#device)
  }

  [Symbol.dispose](): void {
    for (const thing of this.#kept) thing[Symbol.dispose]()
  }
}
