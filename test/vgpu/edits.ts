// One edit of one kernel's PTX.

/** Replaces the n-th match of a pattern inside one kernel; $1 stands for what its first bracket matched. */
function edit(ptx: string, kernel: string, pattern: RegExp, n: number, replacement: string): string {
  const begin = ptx.indexOf(`.entry ${kernel}`)
  const next = ptx.indexOf('.entry ', begin + 1)
  const end = next < 0 ? ptx.length : next
  let seen = 0
  const body = ptx.slice(begin, end).replace(new RegExp(pattern, 'g'), (match, first: unknown) => (seen++ === n ? replacement.replace('$1', String(first)) : match))
  if (seen <= n) throw new Error(`${kernel} has no match ${n} of ${pattern.source}`)
  return ptx.slice(0, begin) + body + ptx.slice(end)
}

export interface Mutant {
  name: string
  kernel: string
  pattern: RegExp
  n?: number
  replacement?: string
  finding: RegExp
}

/** n = -1 edits every match. */
export function apply(ptx: string, m: Mutant): string {
  if (m.n !== -1) return edit(ptx, m.kernel, m.pattern, m.n ?? 0, m.replacement ?? '')
  let result = edit(ptx, m.kernel, m.pattern, 0, m.replacement ?? '')
  for (;;) {
    try {
      result = edit(result, m.kernel, m.pattern, 0, m.replacement ?? '')
    } catch {
      return result
    }
  }
}
