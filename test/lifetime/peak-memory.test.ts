import { childAnswer } from '../support/child'

interface Answer {
  readonly inputs: number
  readonly expectedInputs: number
  readonly workspace: number
}
const measure = (shape: { qoLen: number; kvLen: number; numKvHeads: number }): Promise<Answer> =>
  childAnswer('peak-memory.ts', [JSON.stringify({ ...shape, numQoHeads: 32, headDim: 128 })])

describe('the memory of one call beyond its inputs and outputs', () => {
  // Rows enough in either case for tiles of the same height.
  it.each([['prefill', 1152], ['decode', 1]])('is the same for 32/32 and 32/8 heads in %s: keys and values are never repeated', async (_, qoLen) => {
    const [mha, gqa] = await Promise.all([32, 8].map((numKvHeads) => measure({ qoLen, kvLen: 1152, numKvHeads })))
    expect(mha!.inputs).toBe(mha!.expectedInputs)
    expect(gqa!.inputs).toBe(gqa!.expectedInputs)
    // Repeated keys and values alone would be 2 · 24 heads · 1152 · 128 · 2 bytes = 14.2 MB.
    // The scratch of a thread may hold one row per query head of a group: 2 threads · 4 rows of logits and output.
    expect(gqa!.workspace).toBeLessThanOrEqual(mha!.workspace + 2 ** 16)
  })

  it('does not grow with the square of the length', async () => {
    const [short, long] = await Promise.all([512, 2048].map((len) => measure({ qoLen: len, kvLen: len, numKvHeads: 8 })))
    // One float32 logit per query, key and head would be 512 MB; four times the length may take four times the workspace, and 1 MB of tiles.
    expect(long!.workspace).toBeLessThan(4 * short!.workspace + 2 ** 20)
    expect(long!.workspace).toBeLessThan(64 * 2 ** 20)
  })

  it('does not grow with the keys of a decode step by more than the states of its splits', async () => {
    const [short, long] = await Promise.all([1024, 16384].map((kvLen) => measure({ qoLen: 1, kvLen, numKvHeads: 8 })))
    // A state is one float32 output row and two numbers per query head; there is no use in splits of fewer than 64 keys.
    const states = (16384 / 64) * 32 * (128 + 2) * 4
    expect(long!.workspace).toBeLessThan(short!.workspace + states)
  })
})
