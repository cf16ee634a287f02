import { fromBase64, fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { CaseFile, CorpusCase } from './case.ts';

/** The files of a case by name and role, as the README of the corpus describes them, and what it says of them. */
export class CaseFiles {
  readonly #files: readonly CaseFile[];

  /** Certificates that the cases of the corpus share. */
  readonly authorities: readonly Uint8Array[];

  readonly facts: CorpusCase['facts'];

  constructor({ files, authorities, facts }: CorpusCase) {
    this.#files = files;
    this.authorities = authorities;
    this.facts = facts;
  }

  /** The first file with one of these names. */
  find(...names: readonly string[]): Uint8Array | undefined {
    return names.map((name) => this.#files.find(({ path }) => path === name)).find(Boolean)?.bytes;
  }

  /** The same; its absence is what the case is about. */
  need(...names: readonly string[]): Uint8Array {
    const found = this.find(...names);
    if (!found) throw new Refusal('EVIDENCE_INCOMPLETE', `the case has no ${names.join(' or ')}`);
    return found;
  }

  byRole(pattern: RegExp): readonly CaseFile[] {
    return this.#files.filter(({ role }) => pattern.test(role));
  }

  byName(pattern: RegExp): readonly CaseFile[] {
    return this.#files.filter(({ path }) => pattern.test(path));
  }

  /** DER certificates of a file that is DER or a PEM chain. */
  certificates(...names: readonly string[]): readonly Uint8Array[] {
    const file = this.find(...names);
    return file ? certificatesIn(file) : [];
  }
}

const DER_SEQUENCE = 0x30;
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;

/** Certificates as they are, not parsed: some are padded, some are what a case is refused for. */
export function certificatesIn(file: Uint8Array): readonly Uint8Array[] {
  if (file[0] === DER_SEQUENCE) return [file];
  return [...fromUtf8(file).matchAll(PEM_BLOCK)].map(([, body = '']) =>
    fromBase64(body.replaceAll(/\s/g, '')),
  );
}
