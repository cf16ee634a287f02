import { html, Markup, type Markup as MarkupType } from './markup.ts';

const STYLE = `
:root { color-scheme: light; --ink: #1c2330; --dim: #5b6675; --line: #d5dae1; --pass: #1a7f4b; --fail: #b3261e; --warn: #9a6700; --fill: #3563b8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } p { margin: .4rem 0; } .dim { color: var(--dim); }
code, .mono { font: 12.5px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; } th, td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { font-weight: 600; color: var(--dim); font-size: .85rem; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.verdict { display: inline-block; padding: .15rem .7rem; border-radius: .3rem; color: #fff; font-weight: 600; }
.verdict.accepted { background: var(--pass); } .verdict.refused { background: var(--fail); }   .verdict.not-judged, .verdict.warned { background: var(--warn); }
.badge { display: inline-block; border: 2px solid var(--warn); color: var(--warn); font-weight: 700; padding: .1rem .5rem; border-radius: .3rem; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .skip, .warning, .missing { color: var(--warn); }
figure { margin: .5rem 0 1rem; } figcaption { color: var(--dim); font-size: .85rem; } svg { width: 100%; height: auto; display: block; } svg text { font: 10px system-ui, sans-serif; fill: #5b6675; }
@media print { @page { size: A4; margin: 16mm 14mm; } body { max-width: none; padding: 0; font-size: 10pt; } h2, h3 { break-after: avoid; } tr, figure, .keep { break-inside: avoid; } thead { display: table-header-group; } .page { break-before: page; } * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
`;

/**
 * A whole page that loads nothing: the policy in it forbids scripts and every address, so that even markup that
 * slipped through could do nothing.
 */
export function page(title: string, body: MarkupType): string {
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="referrer" content="no-referrer" />
        <link rel="icon" href="data:," />
        <title>${title}</title>
        <style>
          ${new Markup(STYLE)}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html> `.text;
}

export type Cell = string | number | MarkupType;

/** A table; cells of numbers stand right. */
export function table(heads: readonly string[], rows: readonly (readonly Cell[])[]): MarkupType {
  if (rows.length === 0) return html`<p class="dim">None.</p>`;
  const classOf = (cell: Cell | undefined): string => (typeof cell === 'number' ? 'number' : '');
  const head = heads.map((text, i) => html`<th class="${classOf(rows[0]?.[i])}">${text}</th>`);
  const body = rows.map(
    (row) =>
      html`<tr>
        ${row.map((cell) => html`<td class="${classOf(cell)}">${cell}</td>`)}
      </tr>`,
  );
  return html`<table>
    <thead>
      <tr>
        ${head}
      </tr>
    </thead>
    <tbody>
      ${body}
    </tbody>
  </table>`;
}

export function code(text: string): MarkupType {
  return html`<code>${text}</code>`;
}
