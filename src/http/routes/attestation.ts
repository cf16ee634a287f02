import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import type { Collateral } from '../../../attestation/collateral.ts';
import { encodeKeyset } from '../../../attestation/keyset.ts';
import { type Action, json } from '../endpoint.ts';
import { parseNonce } from '../request.ts';
import type { Service } from '../service.ts';
import { hardwareOf } from './health.ts';

/** `GET /v1/attestation?nonce=`: evidence made for the asker's nonce. Public: one asks before one trusts. */
export function attestation(service: Service): Action {
  const { vouching } = service;
  const collateralText = encodeOnce();
  return async ({ request }) => {
    const nonce = parseNonce(request.query['nonce']);
    const { head, index, count, path } = await vouching.attest(nonce);
    const collateral = collateralText(await vouching.collateral());
    return json({
      format: 'vouchsafe/attestation/1',
      hardware: hardwareOf(service),
      document: base64url(head.encoded),
      digest: hex(head.digest),
      nonce: { value: hex(nonce), index, count, path: path.map(hex) },
      collateral,
    });
  };
}

/** `GET /v1/keyset`: for information. Nothing here is authenticated: keys are taken from verified evidence only. */
export function keyset({ vouching, keyset: keys }: Service): Action {
  const encoded = base64url(encodeKeyset(keys));
  return () =>
    json({
      format: 'vouchsafe/keyset/1',
      keyset: encoded,
      digest: hex(vouching.keysetDigest),
      evidence: hex(vouching.head.digest),
      note: 'Unauthenticated. Take keys from verified evidence only.',
    });
}

/** Collateral is large and changes seldom: it is encoded once for each object. */
function encodeOnce(): (collateral: Collateral) => string {
  const texts = new WeakMap<Collateral, string>();
  return (collateral) => {
    const known = texts.get(collateral) ?? base64url(encodeDc(encodeCollateral(collateral)));
    texts.set(collateral, known);
    return known;
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
