/** Style of the HTML report, for light and dark schemes and for print. */
export const pageStyle = `
:root { color-scheme: light dark; --page: #ffffff; --card: #ffffff; --soft: #f5f6f8; --text: #16181d; --muted: #5b6270; --line: #e4e7ec;
  --mha: #c2570c; --gqa: #2458d3; --mla: #047857; --budget: #9b1c3c; }
@media (prefers-color-scheme: dark) { :root { --page: #101216; --card: #181b21; --soft: #20242c; --text: #e8eaee; --muted: #9aa3b2; --line: #2b303a;
  --mha: #f59e4c; --gqa: #7aa5ff; --mla: #43cf9d; --budget: #ff7d97; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 56px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 6px; text-wrap: balance; }
h2 { font-size: 17px; margin: 0 0 10px; }
h3 { font-size: 17px; margin: 0; }
header p, .origin, figcaption, footer { color: var(--muted); }
header p { margin: 0; }
section { margin-top: 32px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 16px; }
.cards article { border: 1px solid var(--line); border-top: 4px solid var(--tint); border-radius: 10px; padding: 16px 18px; background: var(--card); display: flex; flex-direction: column; }
.origin { margin: 2px 0 12px; text-wrap: balance; font-size: 13px; }
.mha { --tint: var(--mha); } .gqa { --tint: var(--gqa); } .mla { --tint: var(--mla); }
dl { margin: auto 0 0; } dl div { display: flex; justify-content: space-between; gap: 12px; padding: 5px 0; border-top: 1px solid var(--line); }
dt { color: var(--muted); } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.reading { background: var(--soft); border-radius: 10px; padding: 18px 22px; }
.reading ul { margin: 0; padding: 0; list-style: none; } .reading li + li { margin-top: 6px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 16px; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; background: var(--card); min-width: 0; }
figure h2 { margin: 0; } figcaption { font-size: 13px; margin-bottom: 14px; }
.uplot { width: 100%; } .u-legend { font-size: 13px; font-variant-numeric: tabular-nums; color: var(--text); } .u-legend .u-series > * { padding: 2px 4px; } #memory .u-series:last-child th::after { content: ""; }
.bar { display: grid; grid-template-columns: 44px 1fr minmax(104px, max-content); align-items: center; gap: 12px; margin: 8px 0; font-variant-numeric: tabular-nums; }
.bar span { color: var(--muted); } .bar i { background: var(--soft); border-radius: 5px; height: 22px; }
.bar b { display: block; height: 100%; min-width: 2px; border-radius: 5px; background: var(--tint); } .bar em { font-style: normal; font-weight: 600; white-space: nowrap; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 18px; text-align: right; white-space: nowrap; }
tr > :first-child, tr > .text { text-align: left; } tr > .text:last-child { white-space: normal; min-width: 260px; } tbody tr + tr > * { border-top: 1px solid var(--line); }
thead th { color: var(--tint); font-size: 15px; padding-top: 12px; } tbody th { font-weight: 400; }
tbody th[scope=rowgroup] { background: var(--soft); color: var(--muted); font-size: 13px; font-weight: 600; }
.best { font-weight: 700; } .best::before { content: "▸ "; color: var(--muted); font-weight: 400; }
footer { margin-top: 40px; font-size: 13px; }
@media print { main { max-width: none; padding: 0; } figure, article, tr { break-inside: avoid; } }
`
