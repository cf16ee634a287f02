import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import type { Collateral } from '../../../attestation/collateral.ts';
import { encodeKeyset } from '../../../attestation/keyset.ts';
import type { EvidenceHead } from '../../receipts/evidence.ts';
import { type Action, json, type ReadAction } from '../endpoint.ts';
import { parseNonce } from '../request.ts';
import type { Service } from '../service.ts';
import { hardwareOf } from './health.ts';

/** `GET /v1/attestation?nonce=`: evidence made for the asker's nonce. Public: one asks before one trusts. */
export function attestation(service: Service): ReadAction {
  const { vouching } = service;
  const collateralText = encodeOnce((collateral: Collateral) => encodeDc(encodeCollateral(collateral)));
  const documentText = encodeOnce(({ encoded }: EvidenceHead) => encoded);
  return async ({ request }) => {
    const nonce = parseNonce(request.query['nonce']);
    const { head, index, count, path } = await vouching.attest(nonce);
    const collateral = collateralText(await vouching.collateral());
    const { body, ...answer } = json({
      format: 'vouchsafe/attestation/1',
      hardware: hardwareOf(service),
      digest: hex(head.digest),
      nonce: { value: hex(nonce), index, count, path: path.map(hex) },
    });
    const parts = [
      body.subarray(0, -1),
      DOCUMENT_MEMBER,
      documentText(head),
      COLLATERAL_MEMBER,
      collateral,
      OBJECT_END,
    ];
    return { ...answer, headers: FOR_ANY_PAGE, body: Buffer.concat(parts) };
  };
}

/** Evidence is public, and pages that judge it come from elsewhere: from a disk, too. */
const FOR_ANY_PAGE = { 'access-control-allow-origin': '*' };

/** What many share is large: it is put into each answer as text that needs no escape. */
const DOCUMENT_MEMBER = Buffer.from(',"document":"');
const COLLATERAL_MEMBER = Buffer.from('","collateral":"');
const OBJECT_END = Buffer.from('"}');

/** `GET /v1/keyset`: for information. Nothing here is authenticated: keys are taken from verified evidence only. */
export function keyset({ vouching }: Service): Action {
  return () =>
    json({
      format: 'vouchsafe/keyset/1',
      keyset: base64url(encodeKeyset(vouching.keyset)),
      digest: hex(vouching.keysetDigest),
      evidence: hex(vouching.head.digest),
      note: 'Unauthenticated. Take keys from verified evidence only.',
    });
}

/** Text in base64url, encoded once for each object. */
function encodeOnce<T extends object>(encode: (value: T) => Uint8Array): (value: T) => Buffer {
  const texts = new WeakMap<T, Buffer>();
  return (value) => {
    const known = texts.get(value) ?? Buffer.from(base64url(encode(value)));
    texts.set(value, known);
    return known;
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
