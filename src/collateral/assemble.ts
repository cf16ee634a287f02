import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Collateral, SignedJson } from '../../attestation/collateral.ts';
import type { CollateralItem } from './item.ts';
import type { CollateralNeed } from './need.ts';

const CRLS: readonly CollateralNeed['kind'][] = ['amd-crl', 'pck-crl', 'intel-root-crl'];

/** The statements as the verifier takes them: each once, in the order of the items. */
export function assembleCollateral(items: readonly CollateralItem[]): Collateral {
  const ofKind = (...kinds: readonly CollateralNeed['kind'][]) =>
    items.filter(({ need }) => kinds.includes(need.kind));
  return {
    rims: new Map(items.flatMap(({ need, body }) => (need.kind === 'rim' ? [[need.id, body] as const] : []))),
    crls: distinct(ofKind(...CRLS).map(({ body }) => body)),
    certificates: distinct(items.flatMap(({ certificates }) => certificates)),
    tcbInfos: ofKind('tcb-info').map(signedJson),
    qeIdentities: ofKind('qe-identity').map(signedJson),
    ocspResponses: distinct(ofKind('ocsp').map(({ body }) => body)),
  };
}

function signedJson({ body, chain }: CollateralItem): SignedJson {
  return { body, issuerChain: chain };
}

function distinct(all: readonly Uint8Array[]): readonly Uint8Array[] {
  return [...new Map(all.map((bytes) => [toHex(bytes), bytes])).values()];
}
