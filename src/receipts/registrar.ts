import { createHash, createPublicKey } from 'node:crypto';
import { equalBytes, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { instanceUrn } from '../../attestation/keyset.ts';
import {
  parseSignedStatement,
  verifySignedStatement,
  type SignedStatement,
} from '../../attestation/log/signedStatement.ts';
import { MAX_ENTRY_BYTES } from '../../attestation/log/tiles.ts';
import { registrationSubject } from '../../attestation/receipt/entryKind.ts';
import { actSubject } from '../../attestation/receipt/record.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import type { Vouching } from './vouching.ts';

/** Whose statements are registered. */
export interface RegistrationSettings {
  readonly issuers: readonly { readonly iss: string; readonly publicKey: string }[];
  readonly maxBytes: number;
}

export interface Registered {
  readonly index: number;
  readonly entry: Uint8Array;
}

interface PinnedIssuer {
  readonly iss: string;
  readonly spki: Uint8Array;
}

const OWN_TYPES = 'application/vouchsafe-';
const RULE = 'scitt-registration-policy';
const URI = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/**
 * Registers signed statements of others (RFC 9943) under a policy: pinned keys of named issuers. The policy's digest
 * is logged before the first of them, and before each statement a record that announces it.
 */
export class Registrar {
  /** The policy as JSON; its SHA-256 is what the log has of it. */
  readonly policy: Uint8Array;
  readonly #vouching: Vouching;
  readonly #issuers: readonly PinnedIssuer[];
  #policyLogged: Promise<unknown> | undefined;

  constructor(vouching: Vouching, { issuers, maxBytes }: RegistrationSettings) {
    this.#vouching = vouching;
    this.#issuers = issuers.map(({ iss, publicKey }) => ({
      iss,
      spki: createPublicKey(publicKey).export({ type: 'spki', format: 'der' }),
    }));
    this.policy = utf8(
      JSON.stringify({
        format: 'vouchsafe/scitt-policy/1',
        issuers: this.#issuers.map(({ iss, spki }) => ({ iss, spki_sha256: sha256Hex(spki) })),
        max_bytes: maxBytes,
      }),
    );
  }

  /**
   * Verifies a statement and appends it with an empty unprotected header; resolves when it is durable. Refused
   * (`Refusal`): malformed ones, issuers and keys that are not pinned, entries that are too large, and whatever could
   * be taken for an entry of this instance.
   */
  async register(bytes: Uint8Array, actor: string): Promise<Registered> {
    const statement = parseSignedStatement(bytes);
    const { entry, issuer } = statement;
    this.#refuseOwn(statement);
    if (entry.length > MAX_ENTRY_BYTES) {
      throw new Refusal('UNSUPPORTED', 'the entry is too large: sign a hash envelope (RFC 9995) instead');
    }
    await this.#verify(statement);
    this.#vouching.requireIssuing();
    await this.#logPolicy();
    const subject = registrationSubject(entry, nodeCrypto);
    const rule = `${RULE} ${sha256Hex(utf8(issuer)).slice(0, 16)}`;
    const announcement = { act: 'statement-registered', actor, rule, subject, count: 1 } as const;
    return { index: await this.#vouching.register(entry, announcement), entry };
  }

  /** An auditor tells entries apart by `typ`, and a careless one by `kid` or issuer: none of ours is registered. */
  #refuseOwn({ type, kid, issuer }: SignedStatement): void {
    const { keysets } = this.#vouching;
    const keys = keysets.flatMap(({ receipt, log, inclusion }) => [receipt, log, inclusion]);
    const kids = keys.map((key) => keyThumbprint(key, nodeCrypto));
    const isOwn =
      (typeof type === 'string' && type.toLowerCase().startsWith(OWN_TYPES)) ||
      kids.some((own) => kid && equalBytes(kid, own)) ||
      keysets.some(({ instance }) => issuer === instanceUrn(instance));
    if (isOwn) throw new Refusal('UNTRUSTED_KEY', 'the statement says that it is of this instance');
  }

  async #verify(statement: SignedStatement): Promise<void> {
    const { issuer, certificates } = statement;
    const [leaf] = certificates;
    const named = leaf && parseCertificate(leaf).spki;
    if (named && !URI.test(issuer)) {
      throw new Refusal('MALFORMED', 'statement: with a certificate its issuer is a URI');
    }
    const keys = this.#issuers.filter(
      ({ iss, spki }) => iss === issuer && (!named || equalBytes(spki, named)),
    );
    let refusal = new Refusal('UNTRUSTED_KEY', 'the policy pins no such key for the issuer');
    for (const { spki } of keys) {
      const failed = await verifySignedStatement(statement, spki, nodeCrypto).then(
        () => undefined,
        asRefusal,
      );
      if (!failed) return;
      refusal = failed;
    }
    throw refusal;
  }

  /** What failed is tried again by the next registration. */
  #logPolicy(): Promise<unknown> {
    const digest = createHash('sha256').update(this.policy).digest();
    this.#policyLogged ??= this.#vouching
      .recordAct({
        act: 'policy-registered',
        actor: 'configuration',
        rule: RULE,
        subject: actSubject([digest], nodeCrypto),
        count: this.#issuers.length,
      })
      .catch((error: unknown) => {
        this.#policyLogged = undefined;
        throw error;
      });
    return this.#policyLogged;
  }
}

function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  throw error;
}

function sha256Hex(bytes: Uint8Array): string {
  return toHex(createHash('sha256').update(bytes).digest());
}
