// Runs one call on the first CUDA device, or says that there is none:
// attention.ts decode|prefill|hidden|tiles|prefill-96|hidden-96|prefill-e4m3|hidden-e4m3|tiles-e4m3|pages|mla|mla-rows|mla-tiles|mla-plan|mla-e4m3|linear
import { devices, flashAttention, linear, mlaDecode, MlaKvCache, pagedAttention, PagedKvCache, type FloatTensor } from '../../../lib/index'
import { storeInTurns } from '../../support/paged-sequences'
import { Random } from '../../support/random'
import { tensorOf } from '../../support/tensors'

const device = devices.list().find(({ type }) => type === 'cuda')?.id
let answer: string = device ?? 'none'

function run(kind: string | undefined): void {
  if (device === undefined) return
  const random = new Random(5)
  if (kind?.startsWith('mla')) {
    // mla-rows: pages that are no whole tiles. mla-tiles: more rows than a tile has, and keys that only the second query sees.
    const [numHeads, qoLen] = kind === 'mla-tiles' ? [40, 2] : [16, 1]
    const [kvLens, kvLoraRank, qkRopeHeadDim, pageSize] = [[300, 77], 512, 64, kind === 'mla-rows' ? 16 : 64]
    const dtype = kind === 'mla-e4m3' ? 'float8_e4m3' : 'bfloat16'
    const cache = new MlaKvCache({ numPages: kind === 'mla-rows' ? 32 : 8, pageSize, kvLoraRank, qkRopeHeadDim, dtype, device })
    const parts = kvLens.map((len) => [random.normals(len * kvLoraRank), random.normals(len * qkRopeHeadDim)] as const)
    const rows = (b: number) => [
      { values: parts[b]![0], row: [kvLoraRank] },
      { values: parts[b]![1], row: [qkRopeHeadDim] },
    ] as const
    const sequences = storeInTurns(cache, kvLens, rows, pageSize, 'bfloat16', device, random)
    const qNope = tensorOf(random.normals(2 * qoLen * numHeads * kvLoraRank), [2, qoLen, numHeads, kvLoraRank], 'bfloat16', device)
    const qPe = tensorOf(random.normals(2 * qoLen * numHeads * qkRopeHeadDim), [2, qoLen, numHeads, qkRopeHeadDim], 'bfloat16', device)
    const batch = cache.batch(sequences)
    const plan = kind === 'mla-plan' ? { plan: mlaDecode.plan(cache, batch, { qoLen, numHeads }) } : {}
    mlaDecode(qNope, qPe, cache, batch, { softmaxScale: 0.1, ...plan }).out.readSync()
    return
  }
  if (kind === 'pages') {
    // Pages of 4 tokens, and the same rows without pages: the answer says when their results differ.
    const [kvLens, heads, dim, pageSize] = [[300, 130], 2, 128, 4]
    const cache = new PagedKvCache({ numPages: 128, pageSize, numKvHeads: heads, headDimQk: dim, dtype: 'bfloat16', device })
    const parts = kvLens.map((len) => [random.normals(len * heads * dim), random.normals(len * heads * dim)] as const)
    const rows = (b: number) => [{ values: parts[b]![0], row: [heads, dim] }, { values: parts[b]![1], row: [heads, dim] }] as const
    const batch = cache.batch(storeInTurns(cache, kvLens, rows, pageSize, 'bfloat16', device, random))
    const queries = kvLens.map(() => random.normals(130 * 8 * dim))
    const { out } = pagedAttention(tensorOf(queries.flatMap((part) => Array.from(part)), [2, 130, 8, dim], 'bfloat16', device), cache, batch)
    const numbers = out.readSync()
    for (const [b, len] of kvLens.entries()) {
      const [k, v] = parts[b]!.map((part) => tensorOf(part, [1, len, heads, dim], 'bfloat16', device))
      const expected = flashAttention(tensorOf(queries[b]!, [1, 130, 8, dim], 'bfloat16', device), k!, v!, { causal: true }).out.readSync()
      if (expected.some((value, i) => value !== numbers[b * expected.length + i])) answer = 'differs'
    }
    return
  }
  if (kind === 'linear') {
    const [rows, inFeatures, outFeatures] = [200, 128, 192]
    const x = tensorOf(random.normals(rows * inFeatures), [rows, inFeatures], 'bfloat16', device)
    linear(x, tensorOf(random.normals(outFeatures * inFeatures), [outFeatures, inFeatures], 'bfloat16', device)).readSync()
    return
  }
  // tiles: more tiles than there are multiprocessors, so that a block has several.
  const [qoLen, kvLen, kvHeads] = kind === 'decode' ? [1, 700, 2] : kind?.startsWith('tiles') ? [130, 150, 14] : [130, 700, 2]
  const [dtype, dim, notFinite] = kind?.endsWith('-e4m3') ? ['float8_e4m3', 256, NaN] as const : ['bfloat16', kind?.endsWith('-96') ? 96 : 128, Infinity] as const
  const tensor = (length: number, heads: number): FloatTensor =>
    tensorOf(random.normals(2 * length * heads * dim), [2, length, heads, dim], dtype, device)
  const q = tensor(qoLen, 4 * kvHeads)
  const k = tensor(kvLen, kvHeads)
  // hidden: values of the last token are not finite, and most queries do not see it.
  const v = !kind?.startsWith('hidden') ? tensor(kvLen, kvHeads)
    : tensorOf(random.normals(2 * 700 * 2 * dim).map((x, i) => (i % (700 * 2 * dim) < 699 * 2 * dim ? x : notFinite)), [2, 700, 2, dim], dtype, device)
  flashAttention(q, k, v, { causal: kind !== 'decode' }).out.readSync()
}

run(process.argv[2])
process.stdout.write(answer)
