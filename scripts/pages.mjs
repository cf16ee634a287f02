import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where pages stand: each is a folder with `main.tsx`, `page.html` and `style.css`, and may have `worker.ts`. */
const PAGES = 'src/page';

/** Folders of `src/page` that are a page, by name, in order. */
export function listPages(root) {
  const folder = join(root, PAGES);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'main.tsx')))
    .sort();
}

/** The file that a page becomes, as a path from the root of the repository. */
export function pageFile(name) {
  return `${PAGES}/${name}.html`;
}

/**
 * Builds every page under `root` as one file that needs nothing else, `dist/src/page/<name>.html` or below `out`.
 * Returns the paths of the files that were written.
 */
export async function buildPages(root, out = join(root, 'dist'), names = listPages(root)) {
  mkdirSync(join(out, PAGES), { recursive: true });
  return await Promise.all(
    names.map(async (name) => {
      const file = join(out, pageFile(name));
      writeFileSync(file, await buildPage(root, name));
      return file;
    }),
  );
}

async function buildPage(root, name) {
  const folder = join(root, PAGES, name);
  const worker = join(folder, 'worker.ts');
  const [main, style, background] = await Promise.all([
    bundle(root, join(folder, 'main.tsx')),
    bundle(root, join(folder, 'style.css')),
    existsSync(worker) ? bundle(root, worker) : undefined,
  ]);
  const script = inScript(main);
  const css = style.replaceAll('</', '<\\/');
  // A data block: never run where it stands, so the policy need not name it. The page makes a Blob of its text.
  const data = background && `<script type="text/plain" id="worker">${inScript(background)}</script>\n`;
  return fill(readFileSync(join(folder, 'page.html'), 'utf8'), {
    '{{script-hash}}': hashOf(script),
    '{{style-hash}}': hashOf(css),
    '<!-- style -->': `<style>${css}</style>`,
    '<!-- script -->': `${data ?? ''}<script type="module">${script}</script>`,
  });
}

/** One file of what an entry reaches; a `.css` entry gives style, any other a script. */
async function bundle(root, entry) {
  // A run from a clone that is built already does not load the bundler.
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: ['es2022', 'chrome110', 'firefox115', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'eof',
    charset: 'utf8',
    define: { 'process.env.NODE_ENV': '"production"' },
    loader: { '.svg': 'dataurl' },
    logLevel: 'silent',
  });
  return outputFiles[0].text;
}

/** Script text that may stand in HTML: these two, which code has in its texts alone, would end it or be a comment. */
function inScript(text) {
  return text.replaceAll(/<(?=\/script|!--)/gi, '\\x3C').replaceAll(/\r\n?/g, '\n');
}

function hashOf(text) {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** Each mark stands in the page once; the text that takes its place is taken as it is. */
function fill(html, parts) {
  return Object.entries(parts).reduce((page, [mark, text]) => {
    const at = page.indexOf(mark);
    if (at === -1 || page.indexOf(mark, at + mark.length) !== -1)
      throw new Error(`page.html has ${mark} not exactly once`);
    return page.slice(0, at) + text + page.slice(at + mark.length);
  }, html);
}
