import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const SCRIPT = fileURLToPath(new URL('pageScript.ts', import.meta.url));
const HTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Vouchsafe in a page</title>
<style>body { font: 1rem/1.5 system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>Vouchsafe in a page</h1>
<p id="evidence">The evidence is being judged…</p>
<form><label>Text to continue <input name="prompt" value="Call me" autocomplete="off"></label> <button disabled>Send, sealed</button></form>
<p id="reply" aria-live="polite"></p>
<p id="receipt" role="status"></p>
<script src="/page.js"></script>
</html>`;

/** The page, served on a free port of this machine. */
export interface ServedPage {
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Serves the page and passes everything else on to the service, as a web server before it does. It sees what is sealed
 * and can change it, and is not trusted: the page judges the service, not this.
 */
export async function servePage(service: string): Promise<ServedPage> {
  const script = await bundle();
  const server = createServer((asked, answer) => {
    if (asked.url === '/') answer.writeHead(200, { 'content-type': 'text/html' }).end(HTML);
    else if (asked.url === '/page.js')
      answer.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    else passOn(service, asked, answer);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [SCRIPT],
    bundle: true,
    format: 'iife',
    platform: 'browser',
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0]?.text ?? '';
}

function passOn(service: string, asked: IncomingMessage, answer: ServerResponse): void {
  const { method, headers } = asked;
  const sent = request(new URL(asked.url ?? '/', service), { method, headers }, (received) => {
    answer.writeHead(received.statusCode ?? 502, received.headers);
    received.pipe(answer);
  });
  sent.on('error', () => {
    if (!answer.headersSent) answer.writeHead(502);
    answer.end();
  });
  answer.on('close', () => {
    sent.destroy();
  });
  asked.pipe(sent);
}
