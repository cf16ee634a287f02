import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, type WriteStream, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { finished } from 'node:stream/promises';

/** A file of at most so many bytes, and its digest. */
export interface Part {
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
}

/** Compresses with `xz`, which is on the machines that this is for, where Node is not. */
export function xz(input: NodeJS.ReadableStream, level: number): AsyncIterable<Buffer> {
  const child = spawn('xz', [`-${level}`, '-T0', '-c'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error) =>
      reject(new Error('parts are made by xz, which cannot be run', { cause: error })),
    );
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`xz ended with ${code ?? 'a signal'}`)),
    );
  });
  ended.catch(() => undefined);
  child.stdin.on('error', () => undefined);
  input.pipe(child.stdin);
  return (async function* () {
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended;
  })();
}

/** Writes a stream as `PATH.000`, `PATH.001` and so on. */
export async function writeParts(
  stream: AsyncIterable<Buffer>,
  path: string,
  partBytes: number,
): Promise<readonly Part[]> {
  const parts: Part[] = [];
  let open: OpenPart | undefined;
  for await (const chunk of stream) {
    for (let from = 0; from < chunk.length;) {
      open ??= new OpenPart(`${path}.${String(parts.length).padStart(3, '0')}`);
      const piece = chunk.subarray(from, from + partBytes - open.size);
      await open.write(piece);
      from += piece.length;
      if (open.size < partBytes) continue;
      parts.push(await open.end());
      open = undefined;
    }
  }
  if (open) parts.push(await open.end());
  return parts;
}

class OpenPart {
  size = 0;
  readonly #path: string;
  readonly #file: WriteStream;
  readonly #hash = createHash('sha256');

  constructor(path: string) {
    this.#path = path;
    this.#file = createWriteStream(path);
  }

  async write(piece: Buffer): Promise<void> {
    this.size += piece.length;
    this.#hash.update(piece);
    if (!this.#file.write(piece)) await once(this.#file, 'drain');
  }

  async end(): Promise<Part> {
    this.#file.end();
    await finished(this.#file);
    return { name: basename(this.#path), size: this.size, sha256: this.#hash.digest('hex') };
  }
}

/** Writes `PATH.join.sh`, which checks the parts and unpacks them into the folder that it is given. */
export function writeJoinScript(path: string, parts: readonly Part[]): string {
  const script = `${path}.join.sh`;
  const names = parts.map(({ name }) => `'${name}'`).join(' ');
  const sums = parts.map(({ name, sha256 }) => `${sha256}  ${name}`).join('\n');
  const text = `#!/bin/sh
# sh ${basename(script)} FOLDER: checks the parts beside this script and unpacks them into FOLDER.
set -eu
folder=\${1:?usage: sh $0 FOLDER}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")"
sha256sum -c - <<'SUMS'
${sums}
SUMS
if command -v xz >/dev/null 2>&1; then
  cat ${names} | xz -dc | tar -xf - -C "$folder"
else
  cat ${names} | python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer)' | tar -xf - -C "$folder"
fi
`;
  writeFileSync(script, text, { mode: 0o755 });
  return script;
}
