import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { parseSource } from '../../../src/models/import/source.ts';
import { layoutOf } from '../../../src/models/release/layout.ts';
import { craftOnnx } from '../../support/onnx.ts';
import {
  add,
  type Files,
  gzipped,
  hex,
  modelFiles,
  namesBelow,
  tarOf,
  tarOfFiles,
  temporaryFolder,
} from '../../support/releases.ts';
import { type Answer, startVendors, type VendorServer } from '../collateral/server.ts';

const code = (name: string): unknown => expect.objectContaining({ code: name });
const FILES = modelFiles();
const ARCHIVE = gzipped(tarOfFiles(FILES, 'tiny/'));

/** Sends less than it says, then hangs up. */
function cutOff(body: Uint8Array, length: number): Answer {
  return (_, response) => {
    response.writeHead(200, { 'content-length': String(body.length) });
    response.write(body.subarray(0, length), () => response.destroy());
  };
}

/** The first answers one after the other, then the last for good. */
function inTurn(...answers: readonly Answer[]): Answer {
  let next = 0;
  return (request, response) => {
    send(answers[Math.min(next++, answers.length - 1)]!, request, response);
  };
}

function send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
  if (typeof answer === 'function') answer(request, response);
  else response.writeHead(answer.status ?? 200, answer.headers ?? {}).end(answer.body);
}

describe('the name of a source', () => {
  test.each([
    ['./models/tiny', { kind: 'path' }],
    ['hf:owner/name', { kind: 'hugging-face', repository: 'owner/name', revision: 'main' }],
    ['hf:owner/name@refs/pr/1', { kind: 'hugging-face', revision: 'refs/pr/1' }],
    ['oci://registry.example/a/b:1.0', { kind: 'oci', registry: 'registry.example', repository: 'a/b', tag: '1.0' }],
    ['oci://[::1]:5000/a', { kind: 'oci', registry: '[::1]:5000', tag: 'latest' }],
    [`oci://r/a@sha256:${hex('x')}`, { kind: 'oci', tag: undefined, sha256: hex('x') }],
    ['https://h.example/x.tar.gz?a=b', { kind: 'web' }],
  ])('%s is read', (text, wanted) => {
    expect(parseSource(text)).toMatchObject(wanted);
  });

  test.each([
    '', 'ftp://h/x', 'hf:owner', 'hf:owner/../x', 'hf:owner/name@../../x', 'hf:owner/name@a//b', 'oci://r', 'oci://r/UPPER',
    'oci://r/a/../b', 'oci://r/a@sha256:00', 'oci://user@r/a', 'oci://r:99999/a', 'https://user:pass@h/x', 'https://',
  ])('%s is refused', (text) => {
    expect(() => parseSource(text)).toThrow(code('SOURCE_INVALID'));
  }); // prettier-ignore
});

describe('a source that cannot be read', () => {
  test.each([
    'https://user:hunter2@h/x',
    'ftp://user:hunter2@h/x',
    'ftp://h/x?key=hunter2',
    'https://h:99999999/x?key=hunter2',
  ])('%s is named without its secret', (text) => {
    const naming = (): unknown => parseSource(text);
    expect(naming).toThrow(code('SOURCE_INVALID'));
    expect(naming).not.toThrow(/hunter2/);
  });
});

describe('an archive from the web', () => {
  const fetchIt = async (server: VendorServer, options: object = {}) =>
    add({ directory: await temporaryFolder(), source: `${server.url}/tiny.tar.gz`, ...options });

  test('becomes a release, with its digest', async () => {
    const server = await startVendors({ '/tiny.tar.gz': { body: ARCHIVE } });
    const { record } = await fetchIt(server, { sha256: hex(ARCHIVE) });
    expect(record.source).toEqual({ kind: 'web', from: `${server.url}/tiny.tar.gz`, resolved: `sha256:${hex(ARCHIVE)}` });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx']);
  });

  test('is named without the query, in records and in errors', async () => {
    const [asked, server] = ['/tiny.tar.gz?key=hunter2', await startVendors()];
    server.routes.set(asked, { body: ARCHIVE });
    const directory = await temporaryFolder();
    const { record } = await add({ directory, source: `${server.url}${asked}` });
    expect(record.source.from).toBe(`${server.url}/tiny.tar.gz`);
    const failures = await Promise.all(
      [{ sha256: hex('x') }, { include: ['nothing'] }].map((options) =>
        fetchIt(server, { source: `${server.url}${asked}`, ...options }).catch((error: unknown) => error),
      ),
    );
    expect(failures).toEqual([code('DIGEST_MISMATCH'), code('NOTHING_FOUND')]);
    expect(failures.map(String).join()).not.toContain('hunter2');
  });

  test('is fetched once more after a cut, a failure and too many requests', async () => {
    const answer = inTurn(
      cutOff(ARCHIVE, 100),
      { status: 503 },
      { status: 429, headers: { 'retry-after': '0' } },
      { body: ARCHIVE },
    );
    const server = await startVendors({ '/tiny.tar.gz': answer });
    expect((await fetchIt(server)).isNew).toBe(true);
    expect(server.asked).toHaveLength(4);
  });

  test.each<readonly [string, Answer, string]>([
    ['is always cut off', cutOff(ARCHIVE, 100), 'SOURCE_TRUNCATED'],
    ['is not there', { status: 404 }, 'SOURCE_NOT_FOUND'],
    ['wants credentials', { status: 401 }, 'SOURCE_UNAUTHORIZED'],
    ['always fails', { status: 500 }, 'SOURCE_STATUS'],
    ['is a page', { body: '<html>'.repeat(200) }, 'SOURCE_MALFORMED'],
    ['has another digest', { body: gzipped(tarOfFiles({ ...FILES, 'config.json': '{}' })) }, 'DIGEST_MISMATCH'],
    ['redirects in a circle', { status: 302, headers: { location: '/tiny.tar.gz' } }, 'SOURCE_MALFORMED'],
    ['redirects to plain HTTP elsewhere', { status: 302, headers: { location: 'http://192.0.2.1/x' } }, 'INSECURE_ADDRESS'],
    ['redirects to a file', { status: 302, headers: { location: 'file:///etc/passwd' } }, 'INSECURE_ADDRESS'],
    ['hangs up', (_, response) => response.destroy(), 'SOURCE_UNREACHABLE'],
  ])('that %s is refused', async (_, answer, wanted) => {
    const server = await startVendors({ '/tiny.tar.gz': answer });
    const directory = await temporaryFolder();
    const adding = fetchIt(server, { directory, sha256: hex(ARCHIVE) });
    await expect(adding).rejects.toEqual(code(wanted));
    expect(await namesBelow(layoutOf(directory).home)).toEqual([]);
  });

  test('that stays silent is given up, and asked again', async () => {
    const server = await startVendors({ '/tiny.tar.gz': () => undefined });
    const adding = fetchIt(server, { http: { idleTimeoutMs: 50, attempts: 2 } });
    await expect(adding).rejects.toEqual(code('SOURCE_TIMEOUT'));
    expect(server.asked).toHaveLength(2);
  });

  test('from plain HTTP elsewhere is not asked for', async () => {
    const adding = add({ directory: await temporaryFolder(), source: 'http://192.0.2.1/x.tar' });
    await expect(adding).rejects.toEqual(code('INSECURE_ADDRESS'));
  });
});

describe('a list of digests', () => {
  const sums = (files: Files): string =>
    Object.entries(files).map(([path, content]) => `${hex(content)}  ./${path}\n`).join('');
  const serve = (files: Files, list = sums(files)): Promise<VendorServer> =>
    startVendors({
      '/m/SHA256SUMS': { body: list },
      ...Object.fromEntries(Object.entries(files).map(([path, body]) => [`/m/${path}`, { body }])),
    });

  test('names the files beside itself', async () => {
    const server = await serve({ ...FILES, 'onnx/notes.txt': 'n' });
    const options = { directory: await temporaryFolder(), source: `${server.url}/m/SHA256SUMS` };
    const { record } = await add({ ...options, sha256: hex(sums({ ...FILES, 'onnx/notes.txt': 'n' })) });
    expect(record.files).toHaveLength(3);
    await add({ ...options, release: 'tiny@2' });
    // What the store has is not fetched again.
    expect(server.asked.filter((path) => path === '/m/model.onnx')).toHaveLength(1);
  });

  test.each([
    ['whose own digest is another', sums(FILES), hex('x'), 'DIGEST_MISMATCH'],
    ['with another digest of a file', sums({ ...FILES, 'config.json': '{}' }), undefined, 'DIGEST_MISMATCH'],
    ['with a path that leads out', `${hex('x')}  ../secret\n`, undefined, 'PATH_REFUSED'],
    ['that is none', 'hello\n', undefined, 'SOURCE_MALFORMED'],
  ])('%s is refused', async (_, list, sha256, wanted) => {
    const server = await serve(FILES, list);
    const adding = add({ directory: await temporaryFolder(), source: `${server.url}/m/SHA256SUMS`, sha256 });
    await expect(adding).rejects.toEqual(code(wanted));
  });
});

const COMMIT = 'c'.repeat(40);
const BLOB = 'b'.repeat(40);

interface HubChanges {
  readonly siblings?: readonly object[];
  readonly weights?: Answer;
  readonly token?: string;
  readonly sha?: string;
}

function gitBlob(content: string | Uint8Array): string {
  const bytes = Buffer.from(content as string);
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

/** The hub: large files lie on another origin, where a redirect leads. */
async function startHub(changes: HubChanges = {}): Promise<{ hub: VendorServer; storage: VendorServer; tokens: string[] }> {
  const weights = craftOnnx();
  const tokens: string[] = [];
  const storage = await startVendors();
  storage.routes.set('/blob', (request, response) => {
    tokens.push(`storage ${request.headers.authorization ?? 'none'}`);
    send(changes.weights ?? { body: weights }, request, response);
  });
  const hub = await startVendors();
  const siblings = changes.siblings ?? [
    { rfilename: '.gitattributes', size: 1, blobId: gitBlob('x') },
    { rfilename: 'config.json', size: 17, blobId: gitBlob('{"hidden_size":4}') },
    {
      rfilename: 'onnx/model.onnx',
      size: weights.length,
      blobId: 'd'.repeat(40),
      lfs: { sha256: hex(weights), size: weights.length, pointerSize: 128 },
    },
  ];
  const guarded = (answer: Answer): Answer => (request, response) => {
    tokens.push(`hub ${request.headers.authorization ?? 'none'}`);
    const allowed = changes.token === undefined || request.headers.authorization === `Bearer ${changes.token}`;
    send(allowed ? answer : { status: 401 }, request, response);
  };
  const info = JSON.stringify({ id: 'owner/name', sha: changes.sha ?? COMMIT, siblings });
  for (const revision of ['main', COMMIT]) {
    hub.routes.set(`/api/models/owner/name/revision/${revision}?blobs=true`, guarded({ body: info }));
  }
  const at = `/owner/name/resolve/${COMMIT}`;
  hub.routes.set(`${at}/.gitattributes`, guarded({ body: 'x' }));
  hub.routes.set(`${at}/config.json`, guarded({ status: 307, headers: { location: '/cache/config.json' } }));
  hub.routes.set('/cache/config.json', guarded({ body: '{"hidden_size":4}' }));
  hub.routes.set(`${at}/onnx/model.onnx`, guarded({ status: 302, headers: { location: `${storage.url}/blob` } }));
  return { hub, storage, tokens };
}

describe('a repository of the Hugging Face hub', () => {
  const fetchIt = async (hub: VendorServer, options: object = {}) =>
    add({ directory: await temporaryFolder(), source: 'hf:owner/name', endpoint: hub.url, ...options });

  test('is taken at the commit that the branch means', async () => {
    const { hub } = await startHub();
    const { record } = await fetchIt(hub);
    expect(record.source).toEqual({ kind: 'hugging-face', from: 'hf:owner/name@main', resolved: COMMIT });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'onnx/model.onnx']);
  });

  test('gets the token, and where it redirects does not', async () => {
    const { hub, tokens } = await startHub({ token: 'hf_secret' });
    await expect(fetchIt(hub)).rejects.toEqual(code('SOURCE_UNAUTHORIZED'));
    tokens.splice(0);
    await fetchIt(hub, { credentials: { huggingFaceToken: 'hf_secret', registry: undefined } });
    expect(tokens).toContain('hub Bearer hf_secret');
    expect(tokens.filter((line) => line.startsWith('storage'))).toEqual(['storage none']);
  });

  test('is narrowed by patterns', async () => {
    const { hub } = await startHub();
    const { record } = await fetchIt(hub, { include: ['onnx/*'] });
    expect(record.files.map(({ path }) => path)).toEqual(['onnx/model.onnx']);
    expect(hub.asked).not.toContain(`/owner/name/resolve/${COMMIT}/config.json`);
  });

  test('is refused before the download where the quota is too small', async () => {
    const { hub, storage } = await startHub();
    await expect(fetchIt(hub, { quotaBytes: 50 })).rejects.toEqual(code('QUOTA_EXCEEDED'));
    expect(storage.asked).toEqual([]);
  });

  const onnx = craftOnnx();
  test.each<readonly [string, HubChanges, string]>([
    ['weights of another digest', { weights: { body: Buffer.alloc(onnx.length) } }, 'DIGEST_MISMATCH'],
    ['weights that are longer', { weights: { body: Buffer.concat([onnx, onnx]) } }, 'DIGEST_MISMATCH'],
    ['weights that are cut off', { weights: cutOff(onnx, 10) }, 'SOURCE_TRUNCATED'],
    ['weights that are shorter', { weights: { body: onnx.subarray(1) } }, 'SOURCE_TRUNCATED'],
    ['a text that git names otherwise', { siblings: [{ rfilename: 'config.json', size: 17, blobId: gitBlob('{}') }] }, 'DIGEST_MISMATCH'],
    ['a path that leads out', { siblings: [{ rfilename: '../x', size: 1, blobId: BLOB }] }, 'PATH_REFUSED'],
    [
      'a path twice',
      { siblings: ['a', 'A'].map((rfilename) => ({ rfilename, size: 1, blobId: BLOB })) },
      'PATH_TWICE',
    ],
    ['a text without a digest', { siblings: [{ rfilename: 'config.json', size: 17 }] }, 'SOURCE_MALFORMED'],
    [
      'a text without a size',
      { siblings: [{ rfilename: 'config.json', blobId: gitBlob('{"hidden_size":4}') }] },
      'SOURCE_MALFORMED',
    ],
    ['no commit', { sha: 'main' }, 'SOURCE_MALFORMED'],
    ['nothing', { siblings: [] }, 'NOTHING_FOUND'],
    ['weights without a digest', { siblings: [{ rfilename: 'a', lfs: { size: 1 } }] }, 'SOURCE_MALFORMED'],
  ])('with %s is refused', async (_, changes, wanted) => {
    const { hub } = await startHub(changes);
    await expect(fetchIt(hub)).rejects.toEqual(code(wanted));
  });

  test('at a commit is that commit', async () => {
    const { hub } = await startHub({ sha: 'e'.repeat(40) });
    const adding = fetchIt(hub, { source: `hf:owner/name@${COMMIT}` });
    await expect(adding).rejects.toEqual(code('DIGEST_MISMATCH'));
  });
});

interface Layer {
  readonly body: Uint8Array;
  readonly mediaType?: string;
  readonly title?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly digest?: string;
  readonly size?: number;
}

const RAW = 'application/vnd.cncf.model.weight.v1.raw';
const LAYERS: readonly Layer[] = [
  { body: craftOnnx(), title: 'model.onnx' },
  { body: Buffer.from('{"hidden_size":4}'), title: 'config.json' },
];

function manifestOf(layers: readonly Layer[]): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: 'application/vnd.cncf.model.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: `sha256:${hex('{}')}`, size: 2 },
    layers: layers.map(({ body, mediaType = RAW, title, annotations, digest, size }) => ({
      mediaType,
      digest: digest ?? `sha256:${hex(body)}`,
      size: size ?? body.length,
      annotations: { ...(title !== undefined && { 'org.opencontainers.image.title': title }), ...annotations },
    })),
  });
}

async function startRegistry(layers: readonly Layer[], manifest = manifestOf(layers)): Promise<VendorServer> {
  const server = await startVendors({ '/v2/models/tiny/manifests/1.0': { body: manifest } });
  server.routes.set(`/v2/models/tiny/manifests/sha256:${hex(manifest)}`, { body: manifest });
  for (const { body, digest } of layers) {
    server.routes.set(`/v2/models/tiny/blobs/${digest ?? `sha256:${hex(body)}`}`, { body });
  }
  return server;
}

describe('an artifact of an OCI registry', () => {
  const name = (server: VendorServer, suffix = ':1.0'): string => `oci://${new URL(server.url).host}/models/tiny${suffix}`;
  const fetchIt = async (server: VendorServer, options: object = {}) =>
    add({ directory: await temporaryFolder(), source: name(server), ...options });

  test('is taken by its tag, and its digest is kept', async () => {
    const server = await startRegistry(LAYERS);
    const { record } = await fetchIt(server);
    const digest = `sha256:${hex(manifestOf(LAYERS))}`;
    expect(record.source).toEqual({ kind: 'oci', from: name(server), resolved: digest });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx']);
    const pinned = await fetchIt(server, { source: name(server, `@${digest}`) });
    expect(pinned.record.digest).toBe(record.digest);
  });

  test('unpacks layers of ModelPack that are archives, and folders of ORAS', async () => {
    const oras = 'application/vnd.oci.image.layer.v1.tar+gzip';
    const layers: readonly Layer[] = [
      { body: craftOnnx(), mediaType: 'application/vnd.oci.image.layer.v1.tar', title: 'model.onnx' },
      { body: tarOfFiles({ 'config.json': '{}' }), mediaType: 'application/vnd.cncf.model.weight.config.v1.tar' },
      {
        body: gzipped(tarOfFiles({ 'docs/a.txt': 'a' })),
        mediaType: oras,
        title: 'docs',
        annotations: { 'io.deis.oras.content.unpack': 'true' },
      },
      { body: Buffer.from('b'), annotations: { 'org.cncf.model.filepath': 'docs/b.txt' } },
    ];
    const { record } = await fetchIt(await startRegistry(layers));
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'docs/a.txt', 'docs/b.txt', 'model.onnx']);
  });

  test('follows an index of one manifest', async () => {
    const server = await startRegistry(LAYERS);
    const inner = manifestOf(LAYERS);
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const entry = { mediaType, digest: `sha256:${hex(inner)}`, size: inner.length };
    server.routes.set('/v2/models/tiny/manifests/1.0', { body: JSON.stringify({ schemaVersion: 2, manifests: [entry] }) });
    expect((await fetchIt(server)).record.source.resolved).toBe(entry.digest);
    server.routes.set('/v2/models/tiny/manifests/1.0', { body: JSON.stringify({ schemaVersion: 2, manifests: [entry, entry] }) });
    await expect(fetchIt(server)).rejects.toEqual(code('SOURCE_MALFORMED'));
  });

  test.each([
    ['anyone', undefined, 'none'],
    ['someone', { user: 'me', password: 'secret' }, `Basic ${Buffer.from('me:secret').toString('base64')}`],
  ])('asks for a token as %s', async (_, registry, wanted) => {
    const server = await startRegistry(LAYERS);
    const plain = new Map(server.routes);
    const asked: string[] = [];
    const service = await startVendors();
    service.routes.set('/token?service=models&scope=repository%3Amodels%2Ftiny%3Apull', (request, response) => {
      asked.push(request.headers.authorization ?? 'none');
      response.end(JSON.stringify({ token: 'tok' }));
    });
    const challenge = `Bearer realm="${service.url}/token",service="models",scope="repository:models/tiny:pull,push"`;
    for (const [path, answer] of plain) {
      server.routes.set(path, (request, response) => {
        const good = request.headers.authorization === 'Bearer tok';
        send(good ? answer : { status: 401, headers: { 'www-authenticate': challenge } }, request, response);
      });
    }
    expect((await fetchIt(server, { credentials: { huggingFaceToken: undefined, registry } })).isNew).toBe(true);
    expect(asked).toEqual([wanted]);
  });

  test.each(['Bearer', 'Basic'])('that redirects gives nobody else its credentials for a %s challenge', async (scheme) => {
    const brought: string[] = [];
    const elsewhere = await startVendors();
    const note: Answer = (request, response) => {
      brought.push(request.headers.authorization ?? 'none');
      const challenge = `${scheme} realm="${elsewhere.url}/token",service="x"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    };
    elsewhere.routes.set('/blob', note);
    elsewhere.routes.set('/token?service=x&scope=repository%3Amodels%2Ftiny%3Apull', (request, response) => {
      brought.push(`token ${request.headers.authorization ?? 'none'}`);
      response.end(JSON.stringify({ token: 'tok' }));
    });
    const server = await startRegistry(LAYERS);
    const blobs = [...server.routes.keys()].filter((path) => path.includes('/blobs/'));
    for (const path of blobs) server.routes.set(path, { status: 307, headers: { location: `${elsewhere.url}/blob` } });
    const credentials = { huggingFaceToken: undefined, registry: { user: 'me', password: 'secret' } };
    await expect(fetchIt(server, { credentials })).rejects.toEqual(code('SOURCE_UNAUTHORIZED'));
    expect(brought).toEqual(['none']);
  });

  test('that takes no credentials is refused, and asked no more than twice', async () => {
    const server = await startRegistry(LAYERS);
    const denied: Answer = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
    server.routes.set('/v2/models/tiny/manifests/1.0', denied);
    await expect(fetchIt(server)).rejects.toEqual(code('SOURCE_UNAUTHORIZED'));
    const credentials = { huggingFaceToken: undefined, registry: { user: 'a', password: 'b' } };
    await expect(fetchIt(server, { credentials })).rejects.toEqual(code('SOURCE_UNAUTHORIZED'));
    expect(server.asked).toHaveLength(3);
  });

  test.each<readonly [string, readonly Layer[], string]>([
    ['a layer of another digest', [...LAYERS, { body: Buffer.from('x'), title: 'x', digest: `sha256:${hex('y')}` }], 'DIGEST_MISMATCH'],
    ['a layer that is longer', [...LAYERS, { body: Buffer.from('xx'), title: 'x', size: 1 }], 'DIGEST_MISMATCH'],
    [
      'an archive of another digest',
      [...LAYERS, { body: tarOfFiles({ a: 'a' }), mediaType: 'application/x.tar', digest: `sha256:${hex('y')}` }],
      'DIGEST_MISMATCH',
    ],
    [
      'an archive with a link',
      [...LAYERS, { body: tarOf([{ path: 'a', type: 'SymbolicLink', linkpath: 'b' }]), mediaType: 'application/x.tar' }],
      'ENTRY_REFUSED',
    ],
    ['a title that leads out', [...LAYERS, { body: Buffer.from('x'), title: '../x' }], 'PATH_REFUSED'],
    ['two layers of one title', [...LAYERS, { body: Buffer.from('x'), title: 'model.onnx' }], 'PATH_TWICE'],
    ['a layer without a title', [...LAYERS, { body: Buffer.from('x') }], 'SOURCE_MALFORMED'],
    ['a digest of another kind', [{ body: craftOnnx(), title: 'model.onnx', digest: 'md5:00' }], 'SOURCE_MALFORMED'],
    ['a layer beyond the quota', [...LAYERS, { body: Buffer.from('x'), title: 'x', size: 2 ** 40 }], 'QUOTA_EXCEEDED'],
    ['no layer', [], 'NOTHING_FOUND'],
  ])('with %s is refused', async (_, layers, wanted) => {
    await expect(fetchIt(await startRegistry(layers))).rejects.toEqual(code(wanted));
  });

  test('with another manifest under its digest is refused', async () => {
    const server = await startRegistry(LAYERS);
    server.routes.set(`/v2/models/tiny/manifests/sha256:${hex('x')}`, { body: manifestOf(LAYERS) });
    const adding = fetchIt(server, { source: name(server, `@sha256:${hex('x')}`) });
    await expect(adding).rejects.toEqual(code('DIGEST_MISMATCH'));
  });
});
