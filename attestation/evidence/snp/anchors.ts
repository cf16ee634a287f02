import type { Anchor } from '../../anchors.ts';
import { SNP_PRODUCTS, type SnpProduct } from './product.ts';

/** An AMD root key, with the one product whose chips it endorses. */
export interface SnpAnchor extends Anchor {
  readonly role: 'amd-ark';
  readonly product: SnpProduct;
}

/** AMD root keys (RSA-4096), one per product; sources are in the README beside this file. */
export const AMD_ANCHORS: readonly SnpAnchor[] = [
  {
    role: 'amd-ark',
    name: 'ARK-Milan',
    product: 'milan',
    spkiSha256: '9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9',
    simulated: false,
    published: {
      notBefore: '2020-10-22T17:23:05Z',
      notAfter: '2045-10-22T17:23:05Z',
      source:
        'AMD key distribution service, /vcek/v1/Milan/cert_chain; the same certificate in 15 public repositories',
    },
  },
  {
    role: 'amd-ark',
    name: 'ARK-Genoa',
    product: 'genoa',
    spkiSha256: '429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831',
    simulated: false,
    published: {
      notBefore: '2022-01-26T15:34:37Z',
      notAfter: '2047-01-26T15:34:37Z',
      source:
        'AMD key distribution service, /vcek/v1/Genoa/cert_chain; the same certificate in 11 public repositories',
    },
  },
  {
    role: 'amd-ark',
    name: 'ARK-Turin',
    product: 'turin',
    spkiSha256: '4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08',
    simulated: false,
    published: {
      notBefore: '2023-05-15T20:03:12Z',
      notAfter: '2048-05-15T20:03:12Z',
      source:
        'AMD key distribution service, /vcek/v1/Turin/cert_chain; the same certificate in 6 public repositories',
    },
  },
];

/** The AMD root with this key; one that does not say which product it endorses is none. */
export function findSnpAnchor(anchors: readonly Anchor[], spkiSha256: string): SnpAnchor | undefined {
  return anchors.filter(isSnpAnchor).find((anchor) => anchor.spkiSha256 === spkiSha256);
}

function isSnpAnchor(anchor: Anchor): anchor is SnpAnchor {
  const { product } = anchor as Partial<SnpAnchor>;
  return anchor.role === 'amd-ark' && SNP_PRODUCTS.some((known) => known === product);
}
