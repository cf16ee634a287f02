import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { concat } from '../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { sigStructure } from '../../attestation/cose/sign1.ts';

/** An issuer of signed statements that has nothing to do with any instance. */
export interface StatementIssuer {
  readonly iss: string;
  /** PEM. */
  readonly publicKey: string;
  readonly spki: Uint8Array;
  /** A signed statement; `header` replaces members of the protected header, undefined leaves one out. */
  sign(options?: StatementOptions): Uint8Array;
}

export interface StatementOptions {
  readonly header?: ReadonlyMap<number, Dc | undefined>;
  readonly unprotected?: ReadonlyMap<number, Dc>;
  readonly payload?: Uint8Array;
  readonly detached?: boolean;
}

const NIL = Uint8Array.of(0xf6);

export function makeIssuer(iss = 'https://issuer.example', alg = -7): StatementIssuer {
  const { privateKey, publicKey } =
    alg === -7 ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' }) : generateKeyPairSync('ed25519');
  return {
    iss,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    sign: (options = {}) => signStatement(privateKey, iss, alg, options),
  };
}

function signStatement(
  key: KeyObject,
  iss: string,
  alg: number,
  {
    header = new Map(),
    unprotected = new Map(),
    payload = Buffer.from('a statement'),
    detached,
  }: StatementOptions,
): Uint8Array {
  const claims = new Map<number, Dc>([
    [1, iss],
    [2, 'a subject'],
  ]);
  const members = new Map<number, Dc | undefined>([
    [1, alg],
    [4, Buffer.from('key 1')],
    [15, claims],
    ...header,
  ]);
  const present = [...members].filter((member): member is [number, Dc] => member[1] !== undefined);
  const bytes = encodeDc(new Map(present));
  const data = sigStructure(bytes, payload);
  const signature =
    alg === -7 ? sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }) : sign(null, data, key);
  return concat(
    Uint8Array.of(0xd2, 0x84),
    encodeDc(bytes),
    encodeDc(unprotected),
    detached ? NIL : encodeDc(payload),
    encodeDc(new Uint8Array(signature)),
  );
}
