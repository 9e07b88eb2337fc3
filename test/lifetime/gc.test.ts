import { childAnswer } from '../support/child'

it('gives back the memory of 2,000 dropped tensors of every kind', async () => {
  const answer = await childAnswer<Record<string, unknown>>('gc.ts', [], ['--expose-gc'])
  const nothing = { tensors: 0, bytes: 0, peakRose: true }
  expect(answer).toEqual({ owned: nothing, view: nothing, result: nothing, wrapped: nothing, reading: nothing, disposed: nothing })
})
