import { compareOptions, reportWith, type Times } from './fixture'

const limits = 'Limits: speed holds for this machine, these kernels and one layer without the rest of the model. '
  + 'The weights are random: nothing here says how well a model with any of the three works.'

/** The sentence that begins so. */
function sentence(reading: readonly string[], begin: string): string | undefined {
  return reading.find((entry) => entry.startsWith(begin))
}

test('all of it, where the three differ', () => {
  const { reading } = reportWith(compareOptions, { decode: [[30, 20, 25], [90, 40, 60]], prefill: [1300, 900, 800] })
  expect(reading).toEqual([
    'Cache: MLA keeps 2.25 KiB per token and layer, 14.2× less than MHA and 3.6× less than GQA.',
    'Memory: 8 GiB of cache over 32 layers holds, in tokens: MHA 8,192, GQA 32,768 and MLA 116,508. All hold the longest length asked for (8,192).',
    'Decode at 512 tokens: GQA takes 20 ms, 1.3× as fast as MLA and 1.5× as fast as MHA.',
    'Decode at 8,192 tokens: GQA takes 40 ms, 1.5× as fast as MLA and 2.3× as fast as MHA.',
    'Growth: each further 1,000 tokens of context add to a decode step, on average between 512 and 8,192: MHA 7.81 ms, GQA 2.6 ms and MLA 4.56 ms.',
    'Prefill of 512 tokens: MLA takes 800 ms, 1.1× as fast as GQA and 1.6× as fast as MHA.',
    'Choice: for 8,192 tokens in 8 GiB, GQA: of those that fit it decodes fastest.',
    limits,
  ])
})

test('no difference is claimed where there is none', () => {
  const { reading } = reportWith(compareOptions, { decode: [[20, 20.1, 20.3], [20, 20.1, 20.3]], prefill: [900, 901, 902] })
  expect(sentence(reading, 'Decode at 512')).toBe('Decode at 512 tokens: MHA takes 20 ms; no clear difference to GQA (20.1 ms) and MLA (20.3 ms).')
  expect(sentence(reading, 'Growth')).toBeUndefined()
  expect(sentence(reading, 'Choice')).toBe(
    'Choice: for 8,192 tokens in 8 GiB, MLA: of those that fit and decode as fast as the fastest it keeps the smallest cache.')
})

test('two rounds claim nothing', () => {
  const { reading } = reportWith(compareOptions, { decode: [[30, 20, 25], [90, 40, 60]], rounds: 2 })
  expect(sentence(reading, 'Decode at 512')).toBe('Decode at 512 tokens: GQA takes 20 ms; no clear difference to MLA (25 ms) and MHA (30 ms).')
})

test.each<[string, number, Times, string]>([
  ['the fastest does not fit', 2 ** 32, [10, 40, 60], 'Choice: for 8,192 tokens in 4 GiB, GQA: of those that fit it decodes fastest.'],
  ['one alone fits', 2 ** 30, [10, 40, 60], 'Choice: for 8,192 tokens in 1 GiB, MLA: it alone fits.'],
  ['none fits', 2 ** 28, [10, 40, 60], 'Choice: none of the three holds 8,192 tokens in 256 MiB; MLA comes nearest with 3,640.'],
])('the choice where %s', (_, memory, longest, text) => {
  const { reading } = reportWith({ ...compareOptions, memory }, { decode: [[5, 20, 30], longest] })
  expect(sentence(reading, 'Choice')).toBe(text)
})

test('the choice says at which length speed was judged when the longest was left out', () => {
  const { reading } = reportWith(compareOptions, { decode: [[30, 20, 25]] })
  expect(sentence(reading, 'Choice')).toBe('Choice: for 8,192 tokens in 8 GiB, GQA: of those that fit it decodes fastest. Speed was judged at 512 tokens.')
})

test('counted alone', () => {
  const { reading } = reportWith({ ...compareOptions, batch: 4 })
  expect(reading).toEqual([
    'Cache: MLA keeps 2.25 KiB per token and layer, 14.2× less than MHA and 3.6× less than GQA.',
    'Memory: 8 GiB of cache over 32 layers holds, in tokens for each of 4 sequences: MHA 2,048, GQA 8,192 and MLA 29,127. Too little for 8,192: MHA.',
    'Choice, by memory alone as nothing was measured: for 8,192 tokens in 8 GiB, MLA, which leaves the most room.',
    'Limits: costs are counted; nothing was measured, and nothing here says how well a model with any of the three works.',
  ])
})
