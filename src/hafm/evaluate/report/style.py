"""The page's style sheet: the reader's own fonts, two colours, light and dark, screen and paper."""

__all__ = ["STYLE"]

STYLE = """
:root {
  --ink: #1c2430; --soft: #5b6675; --faint: #97a1ae; --line: #dfe3e8; --page: #fdfdfc; --tint: #f4f5f6;
  --blue: #1d4ed8; --warm: #b45309; --glow: none;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e7eb; --soft: #a3adba; --faint: #6d7885; --line: #2d3540; --page: #13171c; --tint: #1b2027;
    --blue: #7ea6ff; --warm: #f0a35e; --glow: brightness(1.55);
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 3.5rem 1.5rem 2rem; }
h1, h2, h3, h4 { line-height: 1.25; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; letter-spacing: -0.015em; }
h2 { font-size: 1.25rem; margin-bottom: 1rem; }
h3 { font-size: 1.05rem; display: inline; }
h4 { font-size: 0.95rem; }
section { margin-top: 3.5rem; }
.over { margin: 0 0 0.4rem; color: var(--soft); font-size: 0.85rem; }
.note { color: var(--soft); font-size: 0.875rem; max-width: 46rem; margin: 0.5rem 0 0; }
ul { max-width: 46rem; padding-left: 1.1rem; margin: 0 0 1rem; }
li { margin: 0.4rem 0; }
li::marker { color: var(--faint); }
small { font-size: 0.8em; font-weight: 400; color: var(--soft); }
code, pre { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "Liberation Mono", monospace; }
code { font-size: 0.85em; color: var(--soft); }
pre { font-size: 0.8rem; overflow: auto; background: var(--tint); padding: 1rem; border-radius: 6px; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem 2rem;
  margin: 1.75rem 0 0; padding: 1.25rem 0; border-block: 1px solid var(--line);
}
.facts dt { color: var(--soft); font-size: 0.8rem; }
.facts dd { margin: 0; font-size: 0.95rem; overflow-wrap: anywhere; }

.table { margin-bottom: 2.25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption {
  text-align: left; font-size: 0.875rem; color: var(--soft); padding-bottom: 0.5rem;
}
th, td { padding: 0.35rem 0.7rem; vertical-align: baseline; text-align: right; }
td { white-space: nowrap; }
th { font-weight: 500; }
th small { display: block; }
td small { display: block; font-size: 0.78em; line-height: 1.3; }
th[scope=row], thead tr:first-child > th:first-child { text-align: left; padding-left: 0; }
th[scope=row] { min-width: 9.5rem; max-width: 19rem; }
thead th { font-size: 0.83rem; vertical-align: bottom; border-bottom: 1px solid var(--ink); }
thead .span { text-align: left; border-bottom: 1px solid var(--line); color: var(--soft); }
thead .nothing, td.nothing, .nothing dt, .nothing code { color: var(--faint); }
.nothing small, .nothing b { color: var(--faint); }
td.nothing b { font-weight: 400; }
.warning { color: var(--warm); margin: 0 0 1rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 4rem; }
tbody tr { border-bottom: 1px solid var(--line); }
tr.group { border-bottom: 0; }
tr.group th {
  text-align: left; padding: 1.1rem 0 0.25rem; font-size: 0.8rem; color: var(--soft); font-weight: 400;
}
tr.group th { background: none; position: static; }
tr.group span, caption { position: sticky; left: 0; }
tr.group span { display: inline-block; max-width: min(88vw, 40rem); }
tbody:first-of-type tr.group th { padding-top: 0.6rem; }
tr.foreign th, tr.foreign td { color: var(--warm); font-style: italic; }
tr.foreign small { color: var(--warm); }
.chart { padding-inline: 0.2rem 0.7rem; }
td.chart { vertical-align: top; padding-top: 0.5rem; }
.fit { font-size: 0.85rem; }
.fit td, .fit thead th { padding-inline: 0.3rem; }
.fit thead th { min-width: 4.7rem; font-size: 0.79rem; line-height: 1.35; }
.fit th[scope=row] { min-width: 8.5rem; }
thead tr:first-child > th:first-child, th[scope=row] { position: sticky; left: 0; background: var(--page); }
table.words td, table.words th { text-align: left; }
svg { display: block; overflow: visible; }
svg text { font-size: 10px; fill: var(--soft); font-weight: 400; }
svg .rail { stroke: var(--line); stroke-width: 1; }
svg .ci { stroke: var(--blue); stroke-width: 2; opacity: 0.55; stroke-linecap: round; }
svg circle, svg path { fill: var(--blue); }

.measures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem 2rem; margin: 0;
}
.measures dt { font-weight: 500; font-size: 0.9rem; }
.measures dd { margin: 0; font-size: 0.85rem; color: var(--soft); }
.measures b { font-weight: 500; color: var(--ink); }
.measures .nothing b { color: var(--faint); }

section > .note + details { margin-top: 1.25rem; }
details { border-top: 1px solid var(--line); }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: 0.7rem 0; font-size: 0.95rem; }
summary span { color: var(--soft); font-size: 0.875rem; margin-left: 0.5rem; }
.fold > :not(summary) { margin-bottom: 1.25rem; }
.clip > label { font-size: 0.9rem; margin-left: 0.35rem; }
.clip > .switch { accent-color: var(--blue); width: 1rem; height: 1rem; vertical-align: -0.15em; margin: 0; }
.take {
  display: grid; grid-template-columns: minmax(0, 14rem) minmax(0, 1fr); gap: 0.5rem 2rem; padding: 1.1rem 0;
}
.take + .take { border-top: 1px solid var(--line); }
.take h4 small { margin-left: 0.3rem; }
.why { margin: 0.2rem 0 0; font-size: 0.85rem; color: var(--soft); }
.look { position: relative; background: var(--tint); border-radius: 4px; overflow: hidden; }
.look img { display: block; width: 100%; height: 124px; image-rendering: pixelated; filter: var(--glow); }
.head { position: absolute; inset-block: 0; width: 2px; background: var(--ink); display: none; }
.head.on { display: block; }
.time {
  display: flex; justify-content: space-between; color: var(--soft); font-size: 0.72rem;
  font-variant-numeric: tabular-nums; margin: 0.15rem 0 0.35rem;
}
audio { display: block; width: 100%; height: 36px; }
.switch:checked ~ .take .alone, .switch:not(:checked) ~ .take .mix { display: none; }
footer {
  margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 0.85rem;
}

@media (max-width: 720px) {
  main { padding: 2rem 1rem; }
  h1 { font-size: 1.5rem; }
  section { margin-top: 2.5rem; }
  .take { grid-template-columns: minmax(0, 1fr); }
  th, td { padding-inline: 0.4rem; }
  th[scope=row] { min-width: 8rem; }
}
@media print {
  :root {
    --ink: #000; --soft: #444; --faint: #888; --line: #ccc; --page: #fff; --tint: #fff;
    --blue: #1d4ed8; --warm: #7c3a00; --glow: none;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  section { margin-top: 1.5rem; }
  table { font-size: 7.5pt; }
  th, td { padding-inline: 0.35rem; }
  .scroll { overflow: visible; }
  .take, tr, .table2 { break-inside: avoid; }
  h2 { break-after: avoid; }
  audio, .switch, .clip > label { display: none !important; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
