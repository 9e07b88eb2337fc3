// Decodes from a paged cache on the first CUDA device, or says that there is none: decode.ts bfloat16|float8_e4m3 [queries]
import { devices, PagedKvCache, pagedAttention } from '../../../lib/index'
import { scalesTensor } from '../../support/float8'
import { storeInTurns } from '../../support/paged-sequences'
import { Random } from '../../support/random'
import { tensorOf } from '../../support/tensors'

const device = devices.list().find(({ type }) => type === 'cuda')?.id
const [dtype, queries = '1'] = process.argv.slice(2) as ['bfloat16' | 'float8_e4m3', string?]

/** Enough keys for two splits, and for a split to go around the ring. */
const kvLens = [700, 77]
const [numQoHeads, numKvHeads, dim] = [16, 4, 128]

if (device !== undefined) {
  const random = new Random(5)
  const scales = dtype === 'float8_e4m3' && { keyScales: scalesTensor([0.5, 1, 2, 1], [numKvHeads], device), valueScales: scalesTensor([1, 0.25, 1, 3], [numKvHeads], device) }
  const cache = new PagedKvCache({ numPages: 20, pageSize: 64, numKvHeads, headDimQk: dim, dtype, device, ...scales })
  const parts = kvLens.map((len) => [random.normals(len * numKvHeads * dim), random.normals(len * numKvHeads * dim)] as const)
  const row = [numKvHeads, dim]
  const rows = (b: number) => [{ values: parts[b]![0], row }, { values: parts[b]![1], row }] as const
  const sequences = storeInTurns(cache, kvLens, rows, 64, 'bfloat16', device, random)
  const qoLen = Number(queries)
  const q = tensorOf(random.normals(2 * qoLen * numQoHeads * dim), [2, qoLen, numQoHeads, dim], 'bfloat16', device)
  pagedAttention(q, cache, cache.batch(sequences)).out.readSync()
}
process.stdout.write(device ?? 'none')
