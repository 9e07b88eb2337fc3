import Table from 'cli-table3'

type Cell = string | { readonly content: string; readonly colSpan: number }
const sides = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'] as const

/** Aligned columns without lines, which a screen reader and `grep` can live with; colour codes do not count as width. */
export function plainTable(head: readonly string[], rows: readonly (readonly Cell[])[], aligns: readonly ('left' | 'right')[]): string {
  const table = new Table({
    head: [...head],
    colAligns: [...aligns],
    chars: Object.fromEntries(sides.map((side) => [side, ''])),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 3 },
  })
  table.push(...rows.map((row) => [...row]))
  return table.toString().split('\n').map((line) => line.trimEnd()).join('\n')
}
