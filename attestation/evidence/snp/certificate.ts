import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { decodeString, decodeUint, readOnly, TAG, type DerElement } from '../../x509/der.ts';
import { productOfName, TCB_BYTES, TCB_LAYOUT, type SnpProduct, type TcbComponent } from './product.ts';

/** AMD's arc of «VCEK and VLEK Certificate and KDS Interface Specification», table of X.509 extensions. */
const AMD_ARC = '1.3.6.1.4.1.3704.1.';
const NEWEST_STRUCTURE = 1;
const MAX_SVN = 255;
const COMPONENT_ARC: Readonly<Record<TcbComponent, string>> = {
  bootloader: '3.1',
  tee: '3.2',
  snp: '3.3',
  microcode: '3.8',
  fmc: '3.9',
};
/** Reserved components, in the order in which the layout leaves room for them. */
const RESERVED_ARCS: Readonly<Record<SnpProduct, readonly string[]>> = {
  milan: ['3.4', '3.5', '3.6', '3.7'],
  genoa: ['3.4', '3.5', '3.6', '3.7'],
  turin: ['3.5', '3.6', '3.7'],
};
/** Turin identifies a chip by 8 bytes, its forerunners by 64. */
const HWID_BYTES: Readonly<Record<SnpProduct, number>> = { milan: 64, genoa: 64, turin: 8 };

/** A versioned endorsement key: the chip's own (VCEK) or one that AMD lends to a cloud (VLEK). */
export interface VekCertificate {
  readonly certificate: Certificate;
  readonly kind: 'vcek' | 'vlek';
  readonly product: SnpProduct;
  /** The TCB_VERSION from which the key was derived, laid out as in reports. */
  readonly tcb: Uint8Array;
  /** Identity of the chip; VCEK only. */
  readonly hwid: Uint8Array | undefined;
  /** Name of the cloud provider; VLEK only. */
  readonly cspId: string | undefined;
}

/** Reads AMD's extensions of a VEK certificate, which is trusted only as far as its chain is. */
export function readVekCertificate(certificate: Certificate): VekCertificate {
  const structure = decodeUint(required(certificate, '1', TAG.integer), 'VEK structure version');
  if (structure > NEWEST_STRUCTURE) {
    throw new Refusal('UNSUPPORTED', `VEK structure version ${structure} is not 0 to ${NEWEST_STRUCTURE}`);
  }
  const product = productOfName(decodeString(required(certificate, '2', TAG.ia5String), 'VEK product name'));
  const hwid = readHwid(certificate, product);
  const csp = extension(certificate, '5');
  if ((hwid === undefined) === (csp === undefined)) {
    throw new Refusal('MALFORMED', 'a VEK certificate names either a chip or a cloud provider');
  }
  const cspId = csp && decodeString(readOnly(csp, TAG.ia5String, 'CSP id'), 'CSP id');
  return {
    certificate,
    kind: hwid ? 'vcek' : 'vlek',
    product,
    tcb: readTcb(certificate, product),
    hwid,
    cspId,
  };
}

/** The bare value in AMD's certificates of all three products; some were issued with it in an OCTET STRING. */
function readHwid(certificate: Certificate, product: SnpProduct): Uint8Array | undefined {
  const value = extension(certificate, '4');
  const size = HWID_BYTES[product];
  const hwid = value?.length === size + 2 ? readOnly(value, TAG.octetString, 'hwid').content : value;
  if (hwid && hwid.length !== size) {
    throw new Refusal('MALFORMED', `hwid has ${hwid.length} bytes, on ${product} it has ${size}`);
  }
  return hwid;
}

/**
 * The TCB extensions as TCB_VERSION. A reserved component may be left out and is then 0; one beyond the layout is
 * refused, for its floor could not be compared.
 */
function readTcb(certificate: Certificate, product: SnpProduct): Uint8Array {
  const tcb = new Uint8Array(TCB_BYTES);
  const reservedArcs = [...RESERVED_ARCS[product]];
  const known = new Set<string>();
  for (const [i, component] of TCB_LAYOUT[product].entries()) {
    const arc = component ? COMPONENT_ARC[component] : reservedArcs.shift();
    if (arc === undefined) continue;
    known.add(AMD_ARC + arc);
    tcb[i] = component || extension(certificate, arc) ? readSvn(certificate, arc) : 0;
  }
  for (const oid of certificate.extensions.keys()) {
    if (oid.startsWith(`${AMD_ARC}3.`) && !known.has(oid)) {
      throw new Refusal('UNSUPPORTED', `the VEK certificate has unknown TCB component ${oid}`);
    }
  }
  return tcb;
}

function readSvn(certificate: Certificate, arc: string): number {
  const svn = decodeUint(required(certificate, arc, TAG.integer), `VEK extension ${arc}`);
  if (svn > MAX_SVN) throw new Refusal('MALFORMED', `VEK extension ${arc} is ${svn}, above ${MAX_SVN}`);
  return svn;
}

function required(certificate: Certificate, arc: string, tag: number): DerElement {
  const value = extension(certificate, arc);
  if (!value) throw new Refusal('MALFORMED', `the VEK certificate lacks extension ${AMD_ARC}${arc}`);
  return readOnly(value, tag, `VEK extension ${arc}`);
}

function extension(certificate: Certificate, arc: string): Uint8Array | undefined {
  return certificate.extensions.get(AMD_ARC + arc)?.value;
}
