import { childAnswer } from '../support/child'

it('computes in four workers and the main thread at once', async () => {
  expect(await childAnswer('workers.ts', ['together'])).toEqual({ same: [true, true, true, true], codes: [0, 0, 0, 0] })
})

it('goes on after workers were terminated amid queued work, and holds none of their tensors', async () => {
  const answer = await childAnswer<{ works: boolean; tensorsLeft: number }>('workers.ts', ['terminate'])
  // The main thread's own four tensors of two runs may not have been collected yet.
  expect(answer.works).toBe(true)
  expect(answer.tensorsLeft).toBeLessThanOrEqual(8)
})
