import { Refusal } from '../../errors.ts';

/** Silicon generations that sign with a root of their own. Bergamo and Siena are Genoa to AMD's key service. */
export const SNP_PRODUCTS = ['milan', 'genoa', 'turin'] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

/** Family, model and stepping as CPUID gives them, extended parts added in. */
export interface Cpuid {
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

export type TcbComponent = 'fmc' | 'bootloader' | 'tee' | 'snp' | 'microcode';

/** Security version number of each firmware component; `fmc` exists on Turin only. */
export type SnpTcb = { readonly [component in Exclude<TcbComponent, 'fmc'>]: number } & {
  readonly fmc: number | undefined;
};

/** Size of TCB_VERSION in bytes. */
export const TCB_BYTES = 8;

const FAMILY_19_LAYOUT = [
  'bootloader',
  'tee',
  undefined,
  undefined,
  undefined,
  undefined,
  'snp',
  'microcode',
] as const;

/** What each byte of TCB_VERSION holds (SNP firmware ABI, TCB_VERSION); undefined is reserved. */
export const TCB_LAYOUT: Readonly<Record<SnpProduct, readonly (TcbComponent | undefined)[]>> = {
  milan: FAMILY_19_LAYOUT,
  genoa: FAMILY_19_LAYOUT,
  turin: ['fmc', 'bootloader', 'tee', 'snp', undefined, undefined, undefined, 'microcode'],
};

/** The components of a TCB_VERSION; its meaning depends on the product. */
export function splitTcb(raw: Uint8Array, product: SnpProduct): SnpTcb {
  const layout = TCB_LAYOUT[product];
  const component = (name: TcbComponent) => raw[layout.indexOf(name)] ?? 0;
  return {
    fmc: product === 'turin' ? component('fmc') : undefined,
    bootloader: component('bootloader'),
    tee: component('tee'),
    snp: component('snp'),
    microcode: component('microcode'),
  };
}

/** For reasons: `bootloader 4, tee 0, snp 24, microcode 219`. */
export function formatTcb({ fmc, bootloader, tee, snp, microcode }: SnpTcb): string {
  const first = fmc === undefined ? '' : `fmc ${fmc}, `;
  return `${first}bootloader ${bootloader}, tee ${tee}, snp ${snp}, microcode ${microcode}`;
}

/** The product of a CPUID signature; silicon without a known root is refused as `UNSUPPORTED`. */
export function productOfCpuid({ family, model }: Cpuid): SnpProduct {
  if (family === 0x19 && model <= 0x0f) return 'milan';
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf)))
    return 'genoa';
  if (family === 0x1a) return 'turin';
  throw new Refusal(
    'UNSUPPORTED',
    `no product is known for CPU family 0x${family.toString(16)} model 0x${model.toString(16)}`,
  );
}

/** The product of a VEK certificate's product name, with or without a silicon stepping: `Milan-B0`, `Genoa`. */
export function productOfName(name: string): SnpProduct {
  const [, word] = /^(Milan|Genoa|Turin)(?:-[A-Z][0-9])?$/.exec(name) ?? [];
  const product = SNP_PRODUCTS.find((known) => known === word?.toLowerCase());
  if (!product)
    throw new Refusal('UNSUPPORTED', `the certificate names an unknown product (${name.length} characters)`);
  return product;
}
