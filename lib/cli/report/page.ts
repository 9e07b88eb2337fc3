import { readFileSync } from 'node:fs'
import { pageStyle } from './page-style'

/**
 * One page that needs nothing beside it: the chart library is inlined, and its own policy forbids it the network.
 * `body` is HTML, `script` draws `data`.
 */
export function chartPage(
  { title, body, data, script }: { readonly title: string; readonly body: string; readonly data: unknown; readonly script: string },
): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>${chartLibrary('uPlot.min.css')}${pageStyle}</style>
</head>
<body>
<main>
${body}
</main>
<script type="application/json" id="report">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${chartLibrary('uPlot.iife.min.js')}</script>
<script>${script}</script>
</body>
</html>
`
}

/** Text for HTML, in content and in quoted attributes. */
export function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '')
}

export function figure(id: string, title: string, caption: string): string {
  return `<figure><h2>${escape(title)}</h2><figcaption>${escape(caption)}</figcaption><div class="plot" id="${id}"></div></figure>`
}

export function notesSection(notes: readonly string[]): string {
  return notes.length === 0 ? '' : `<section><h2>Notes</h2><ul>${notes.map((note) => `<li>${escape(note)}</li>`).join('')}</ul></section>`
}

function chartLibrary(file: 'uPlot.min.css' | 'uPlot.iife.min.js'): string {
  return readFileSync(require.resolve(`uplot/dist/${file}`), 'utf8')
}
