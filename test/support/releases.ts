import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll } from '@jest/globals';
import { Header } from 'tar';
import { addRelease, type Added, type AddOptions } from '../../src/models/import/addRelease.ts';
import { craftOnnx } from './onnx.ts';
import { makeStore } from './store.ts';

export const ADDED_AT = Date.parse('2026-11-21T12:00:00Z');

const made: string[] = [];
afterAll(() => Promise.all(made.map((path) => rm(path, { recursive: true, force: true }))));

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-hosting-'));
  made.push(folder);
  return folder;
}

export type Files = Readonly<Record<string, string | Uint8Array>>;

/** Files of a model that can be served. */
export function modelFiles(others: Files = {}): Files {
  return { 'model.onnx': craftOnnx(), 'config.json': '{"hidden_size":4}', ...others };
}

export function modelFolder(others: Files = {}): Promise<string> {
  return makeStore(modelFiles(others));
}

/** Adds with the least that has to be said. */
export function add(options: Pick<AddOptions, 'directory' | 'source'> & Partial<AddOptions>): Promise<Added> {
  return addRelease({
    release: 'tiny@1',
    quotaBytes: undefined,
    signers: { keys: [], roots: [] },
    credentials: { huggingFaceToken: undefined, registry: undefined },
    now: ADDED_AT,
    ...options,
    http: { backoffMs: 1, idleTimeoutMs: 2_000, ...options.http },
  });
}

/** Every name below the hidden folder of a store, so that what is left over shows. */
export async function namesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

export const hex = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export type EntryType =
  'File' | 'Directory' | 'SymbolicLink' | 'Link' | 'CharacterDevice' | 'BlockDevice' | 'FIFO';

export interface TarEntry {
  readonly path: string;
  readonly content?: string | Uint8Array;
  readonly type?: EntryType;
  readonly linkpath?: string;
  /** States another size than the content has. */
  readonly size?: number;
}

/** A tar archive, entry by entry, as nobody's tool would write it. */
export function tarOf(entries: readonly TarEntry[], end: Uint8Array = new Uint8Array(1024)): Buffer {
  return Buffer.concat([...entries.map(entryBytes), end]);
}

export function tarOfFiles(files: Files, folder = ''): Buffer {
  return tarOf(Object.entries(files).map(([path, content]) => ({ path: `${folder}${path}`, content })));
}

export const gzipped = (bytes: Uint8Array): Buffer => gzipSync(bytes);

function entryBytes({ path, content = '', type = 'File', linkpath, size }: TarEntry): Buffer {
  const body = Buffer.from(content as string);
  const block = Buffer.alloc(512);
  const header = new Header({
    path,
    type,
    mode: 0o644,
    size: size ?? body.length,
    mtime: new Date(0),
    ...(linkpath !== undefined && { linkpath }),
  });
  header.encode(block, 0);
  return Buffer.concat([block, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

export interface MintedKey {
  readonly privateKey: KeyObject;
  readonly pem: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
}

export function mintKey(namedCurve: 'P-256' | 'P-384' | 'P-521' = 'P-256'): MintedKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  const hash = ({ 'P-256': 'sha256', 'P-384': 'sha384', 'P-521': 'sha512' } as const)[namedCurve];
  return { privateKey, pem: publicKey.export({ type: 'spki', format: 'pem' }) as string, hash };
}

/** What a signature may be made wrong in. */
export interface SignatureChanges {
  readonly chain?: readonly Uint8Array[];
  readonly material?: object;
  readonly mediaType?: string;
  readonly payloadType?: string;
  readonly predicateType?: string;
  readonly statement?: (statement: Statement) => object;
  readonly payload?: (payload: Buffer) => Buffer;
  readonly envelope?: object;
}

export interface Statement {
  readonly _type: string;
  readonly subject: readonly object[];
  readonly predicateType: string;
  readonly predicate: {
    readonly serialization: object;
    readonly resources: readonly { name: string; algorithm: string; digest: string }[];
  };
}

/** A bundle as OpenSSF Model Signing v1.0 writes it. */
export function signModel(files: Files, key: MintedKey, changes: SignatureChanges = {}): Buffer {
  const statement = statementOf(files, changes.predicateType);
  const payload = Buffer.from(JSON.stringify(changes.statement?.(statement) ?? statement));
  const payloadType = changes.payloadType ?? 'application/vnd.in-toto+json';
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ]);
  const sig = createSign(key.hash).update(signed).sign(key.privateKey).toString('base64');
  const certificates = changes.chain?.map((der) => ({ rawBytes: Buffer.from(der).toString('base64') }));
  const material = certificates
    ? { x509CertificateChain: { certificates } }
    : { publicKey: { hint: hex(key.pem) } };
  return Buffer.from(
    JSON.stringify({
      mediaType: changes.mediaType ?? 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { ...(changes.material ?? material), tlogEntries: [] },
      dsseEnvelope: {
        payload: (changes.payload?.(payload) ?? payload).toString('base64'),
        payloadType,
        signatures: [{ sig, keyid: '' }],
        ...changes.envelope,
      },
    }),
  );
}

function statementOf(files: Files, predicateType = 'https://model_signing/signature/v1.0'): Statement {
  const resources = Object.entries(files)
    .map(([name, content]) => ({ name, algorithm: 'sha256', digest: hex(content) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const root = createHash('sha256');
  for (const { digest } of resources) root.update(Buffer.from(digest, 'hex'));
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'tiny', digest: { sha256: root.digest('hex') } }],
    predicateType,
    predicate: {
      serialization: {
        method: 'files',
        hash_type: 'sha256',
        allow_symlinks: false,
        ignore_paths: ['model.sig'],
      },
      resources,
    },
  };
}
