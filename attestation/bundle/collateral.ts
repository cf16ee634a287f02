import type { Dc, DcMap } from '../cbor/deterministic.ts';
import { asArray, asBytes, asClosedMap, asText, asTuple } from '../cbor/shape.ts';
import type { Collateral, SignedJson } from '../collateral.ts';
import { Refusal } from '../errors.ts';

/** More entries of one kind than any machine needs would only serve to make the verifier work. */
const MAX_ENTRIES = 64;
/** Three for the chain of each of 64 devices, and those of the signers of manifests. */
const MAX_OCSP = 256;
const MEMBERS = ['rims', 'crls', 'certificates', 'tcb-infos', 'qe-identities', 'ocsp'] as const;

/** Deterministic map of collateral, as bundles and attestation answers hold it. A kind without entries is absent. */
export function encodeCollateral(collateral: Collateral): DcMap {
  const map = new Map<string, Dc>();
  const { rims, crls, certificates, ocspResponses } = collateral;
  if (rims.size > 0) map.set('rims', new Map(rims));
  if (crls.length > 0) map.set('crls', crls);
  if (certificates.length > 0) map.set('certificates', certificates);
  if (collateral.tcbInfos.length > 0) map.set('tcb-infos', collateral.tcbInfos.map(encodeSigned));
  if (collateral.qeIdentities.length > 0) map.set('qe-identities', collateral.qeIdentities.map(encodeSigned));
  if (ocspResponses.length > 0) map.set('ocsp', ocspResponses);
  return map;
}

export function parseCollateral(value: Dc | undefined): Collateral {
  const map = asClosedMap(value, 'collateral', MEMBERS);
  const entries = <T>(member: (typeof MEMBERS)[number], read: (item: Dc) => T): readonly T[] =>
    map.has(member) ? bounded(asArray(map.get(member), member), member).map(read) : [];
  return {
    rims: map.has('rims') ? parseRims(map.get('rims')) : new Map(),
    crls: entries('crls', (crl) => asBytes(crl, 'CRL')),
    certificates: entries('certificates', (certificate) => asBytes(certificate, 'certificate')),
    tcbInfos: entries('tcb-infos', parseSigned),
    qeIdentities: entries('qe-identities', parseSigned),
    ocspResponses: entries('ocsp', (response) => asBytes(response, 'OCSP response')),
  };
}

function encodeSigned({ body, issuerChain }: SignedJson): Dc {
  return [body, issuerChain];
}

function parseSigned(value: Dc): SignedJson {
  const [body, chain] = asTuple(value, 'signed statement', 2);
  const certificates = bounded(asArray(chain, 'issuer chain'), 'issuer chain');
  return {
    body: asBytes(body, 'signed statement'),
    issuerChain: certificates.map((certificate) => asBytes(certificate, 'issuer certificate')),
  };
}

function parseRims(value: Dc | undefined): ReadonlyMap<string, Uint8Array> {
  if (!(value instanceof Map)) throw new Refusal('MALFORMED', 'RIMs are not a map');
  const rims = bounded([...(value as DcMap)], 'RIMs');
  return new Map(rims.map(([id, rim]) => [asText(id, 'RIM id'), asBytes(rim, 'RIM')]));
}

/** One encoding for each value: an empty list is written as none. */
function bounded<T>(entries: readonly T[], what: string): readonly T[] {
  const limit = what === 'ocsp' ? MAX_OCSP : MAX_ENTRIES;
  if (entries.length === 0) throw new Refusal('MALFORMED', `${what} are empty, not absent`);
  if (entries.length > limit) throw new Refusal('MALFORMED', `more than ${limit} ${what}`);
  return entries;
}
