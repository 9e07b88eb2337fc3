import { parseBytes, parseLengths } from '../../lib/cli/options'
import { bytes, count, flops, seconds, spread, times } from '../../lib/cli/report/format'
import { htmlReport } from '../../lib/cli/report/html'
import { escape } from '../../lib/cli/report/page'
import { terminalReport } from '../../lib/cli/report/terminal'
import type { CompareReport } from '../../lib/cli/compare/report'
import { compareOptions, reportWith, spreadAround } from './fixture'

const full = reportWith(compareOptions, { decode: [[30, 20, 25], [90, 40, 60]], prefill: [1300, 900, 800] })

test('numbers with units', () => {
  expect([0, 512, 1023, 1024, 1_048_575, 1_048_576, 8 * 2 ** 30].map(bytes)).toEqual(['0 B', '512 B', '1020 B', '1 KiB', '1 MiB', '1 MiB', '8 GiB'])
  expect([999, 999.6, 41_943_040, 1e15].map(count)).toEqual(['999', '1 k', '41.9 M', '1 P'])
  expect([12, 1.34e9].map(flops)).toEqual(['12 FLOP', '1.34 GFLOP'])
  expect([2.5, 0.0312, 0.00004567].map(seconds)).toEqual(['2.5 s', '31.2 ms', '45.7 µs'])
  expect([1, 1.25, 14.22, 100].map(times)).toEqual(['1.0×', '1.3×', '14.2×', '100×'])
  expect([spreadAround(10), { ...spreadAround(10), lower: 0.00998, upper: 0.01002 }, spreadAround(10, 1)].map(spread)).toEqual(['±2%', '±0.2%', 'one round'])
})

test('sizes and lengths as options give them', () => {
  expect(['8GiB', '512 MiB', '1.5GB', '4096'].map(parseBytes)).toEqual([8 * 2 ** 30, 512 * 2 ** 20, 1.5e9, 4096])
  expect(parseLengths('8192, 512,512')).toEqual([512, 8192])
})

describe('the terminal', () => {
  const width = (text: string) => Math.max(...text.split('\n').map((line) => line.length))

  test('a table of aligned columns, within 100 columns without a terminal', () => {
    const text = terminalReport(full, {})
    expect(width(text)).toBeLessThanOrEqual(100)
    const rows = text.split('\n').filter((line) => /^ {2}(decode|KV cache|prefill) /.test(line))
    expect(rows.length).toBeGreaterThan(8)
    expect(new Set(rows.map((line) => line.length)).size).toBe(1)
    expect(text).toContain('  decode at 8,192       90 ms ±2%    40 ms ±2%         60 ms ±2%\n')
  })

  test('lists where the table is wider than the terminal', () => {
    const text = terminalReport(full, { columns: 50 })
    const numbers = text.split('\n').filter((line) => line.startsWith('  decode'))
    expect(Math.max(...numbers.map((line) => line.length))).toBeLessThanOrEqual(50)
    expect(text).toContain('  decode at 8,192: 40 ms ±2%')
  })

  test('notes stand before the reading', () => {
    const text = terminalReport({ ...full, notes: ['something was left out.'] }, {})
    expect(text.indexOf('Note: something was left out.')).toBeLessThan(text.indexOf('Cache: '))
  })
})

describe('the page', () => {
  const page = htmlReport(full)

  test('needs nothing beside it', () => {
    // The chart library names its home in a comment; nothing else may name an address at all.
    const own = page.replace('/*! https://github.com/leeoniya/uPlot (v1.6.32) */', '')
    expect(own).not.toMatch(/https?:|\/\/[a-z]+\.|url\(|@import|<link|<img|<iframe|\bsrc=/)
    expect(page).toContain("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    expect(page).toContain('var uPlot=function()')
    expect(page).toContain('.uplot')
  })

  test('shows every number of the table and every sentence', () => {
    for (const cell of ['41.9 M', '2.25 KiB', '116,508', '90 ms ±2%', '800 ms ±2%']) expect(page).toContain(escape(cell))
    for (const entry of full.reading) expect(page).toContain(escape(entry.slice(entry.indexOf(':') + 1)))
  })

  test('gives the charts their numbers', () => {
    const json = /<script type="application\/json" id="report">(.*?)<\/script>/.exec(page)?.[1] ?? ''
    const data = JSON.parse(json) as { decode: number[][]; memory: number[][]; ids: string[]; budget: string }
    expect(data.ids).toEqual(['mha', 'gqa', 'mla'])
    expect(data.decode).toEqual([[512, 8192], [0.03, 0.09], [0.02, 0.04], [0.025, 0.06]])
    const at = data.memory[0]?.indexOf(8192) ?? -1
    expect(data.memory.map((column) => column[at])).toEqual([8192, 8 * 2 ** 30, 2 * 2 ** 30, 576 * 2 ** 20, 8 * 2 ** 30])
  })

  test('escapes whatever it is told', () => {
    const evil = `</script><script>alert("1")</script>&'`
    const { machine, model } = full
    const told: CompareReport = {
      ...full, model: { ...model, title: evil, source: evil }, machine: machine && { ...machine, name: evil }, notes: [evil], reading: [evil],
      package: { name: evil, version: evil },
    }
    expect(htmlReport(told)).not.toContain('<script>alert')
    expect(escape(evil)).toBe('&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;')
  })

  test('leaves out the charts of what was not measured', () => {
    const counted = htmlReport(reportWith(compareOptions))
    expect(counted).not.toContain('id="decode"')
    expect(counted).not.toContain('Prefill</h2>')
    expect(counted).toContain('id="memory"')
    expect(counted).toContain('Nothing was measured.')
  })
})
