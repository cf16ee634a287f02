import { equalBytes, fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import { readVekCertificate } from '../../attestation/evidence/snp/certificate.ts';
import { formatTcb, splitTcb, type SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { parseCertificate, parsePemChain, type Certificate } from '../../attestation/x509/certificate.ts';
import { parseCrl } from '../../attestation/x509/crl.ts';
import { CollateralError } from './errors.ts';
import { reading, type CollateralItem, type CollateralRequest, type Received } from './item.ts';
import type { AmdNeed } from './need.ts';
import { crlToDer } from '../../attestation/x509/crlText.ts';

/** AMD's key distribution service (AMD 57230, chapter 4). */
export const AMD_KDS = 'https://kdsintf.amd.com';

const PRODUCT_NAMES: Readonly<Record<SnpProduct, string>> = {
  milan: 'Milan',
  genoa: 'Genoa',
  turin: 'Turin',
};
/** Genuine ones have 1.4 KB, 5 KB and below 4 KB. */
const MAX_BYTES = { vcek: 16 * 1024, 'amd-chain': 64 * 1024, 'amd-crl': 1024 * 1024 } as const;

export function kdsRequest(need: AmdNeed, base: string): CollateralRequest {
  const product = PRODUCT_NAMES[need.product];
  const maxBytes = MAX_BYTES[need.kind];
  switch (need.kind) {
    case 'vcek': {
      const url = `${base}/vcek/v1/${product}/${toHex(need.hwid)}?${levels(need)}`;
      return { url, media: 'certificate', maxBytes };
    }
    case 'amd-chain':
      return { url: `${base}/${need.endorses}/v1/${product}/cert_chain`, media: 'pem', maxBytes };
    case 'amd-crl':
      return { url: `${base}/vcek/v1/${product}/crl`, media: 'crl', maxBytes, unpack: crlToDer };
  }
}

/** Security patch levels, two decimal digits or three; Turin has one for the FMC, too. */
function levels({ tcb, product }: Extract<AmdNeed, { kind: 'vcek' }>): string {
  const { fmc, bootloader, tee, snp, microcode } = splitTcb(tcb, product);
  const named = { fmcSPL: fmc, blSPL: bootloader, teeSPL: tee, snpSPL: snp, ucodeSPL: microcode };
  return Object.entries(named)
    .flatMap(([name, level]) => (level === undefined ? [] : [`${name}=${String(level).padStart(2, '0')}`]))
    .join('&');
}

export function checkAmd(need: AmdNeed, received: Received): CollateralItem {
  switch (need.kind) {
    case 'vcek':
      return checkVcek(need, received);
    case 'amd-chain': {
      const [ask, ark] = readChain(received.body);
      return { ...received, need, certificates: [ask.der, ark.der], validity: shortest([ask, ark]) };
    }
    case 'amd-crl': {
      const crl = reading('CRL', () => parseCrl(received.body));
      const validity = { from: crl.thisUpdate, until: crl.nextUpdate };
      return { ...received, need, certificates: [], validity };
    }
  }
}

function checkVcek(need: Extract<AmdNeed, { kind: 'vcek' }>, received: Received): CollateralItem {
  const certificate = reading('VCEK certificate', () => parseCertificate(received.body));
  const vek = reading('VCEK certificate', () => readVekCertificate(certificate));
  if (!vek.hwid) throw wrong('it is a VLEK certificate');
  if (vek.product !== need.product) throw wrong(`it is for ${vek.product}, asked was ${need.product}`);
  if (!equalBytes(vek.hwid, need.hwid)) {
    throw wrong(`it is for chip ${toHex(vek.hwid)}, asked was ${toHex(need.hwid)}`);
  }
  if (!equalBytes(vek.tcb, need.tcb)) {
    const [has, asked] = [vek.tcb, need.tcb].map((tcb) => formatTcb(splitTcb(tcb, need.product)));
    throw wrong(`it is for ${has ?? ''}, asked was ${asked ?? ''}`);
  }
  return { ...received, need, certificates: [received.body], validity: shortest([certificate]) };
}

function readChain(pem: Uint8Array): readonly [Certificate, Certificate] {
  const [ask, ark, ...rest] = reading('CA certificates', () => parsePemChain(fromUtf8(pem)));
  if (!ask || !ark || rest.length > 0) {
    throw new CollateralError('malformed', 'CA certificates are not exactly ASK or ASVK, and ARK');
  }
  if (!equalBytes(ask.issuerName, ark.subjectName) || !equalBytes(ark.issuerName, ark.subjectName)) {
    throw wrong(`${ask.subject} is not issued by the root ${ark.subject} beside it`);
  }
  return [ask, ark];
}

function shortest(certificates: readonly Certificate[]): CollateralItem['validity'] {
  return {
    from: Math.max(...certificates.map(({ notBefore }) => notBefore)),
    until: Math.min(...certificates.map(({ notAfter }) => notAfter)),
  };
}

function wrong(message: string): CollateralError {
  return new CollateralError('wrong-certificate', message);
}
