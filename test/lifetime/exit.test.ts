import { runChild } from '../support/child'

describe('a process with work in its queue', () => {
  it.each([['exit', 3], ['exit-reading', 3], ['exit-in-read', 3], ['throw', 1], ['end', 0]])('ends by %s with status %d', async (way, status) => {
    const result = await runChild('exit.ts', [way])
    expect({ status: result.status, signal: result.signal }).toEqual({ status, signal: null })
    if (way === 'throw') expect(result.stderr).toContain('the caller failed')
    else expect(result.stderr).toBe('')
    // What is queued takes far longer than this on any machine: the rest was dropped and not worked off.
    if (way !== 'end') expect(result.milliseconds).toBeLessThan(10_000)
  })

  it('ends by a signal at once', async () => {
    const result = await runChild('exit.ts', ['signal'])
    expect({ status: result.status, signal: result.signal }).toEqual({ status: null, signal: 'SIGTERM' })
  })
})
