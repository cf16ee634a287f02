import { toHex } from '../../attestation/bytes/bytes.ts';
import { ALG, type CoseKey } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { documentDigest, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import { instanceUrn, type Keyset } from '../../attestation/keyset.ts';
import { cpuSections, documentBootLogSections } from './inspectCpu.ts';
import { deviceSetSections, type Beside } from './inspectDeviceSet.ts';
import { operatorSection } from './inspectOperator.ts';
import { readable, yes, type Section } from './inspectSection.ts';
import { secondsText, type Row } from './receiptText.ts';

export type { Section };

/** Longer keys are named by their digest, bytes. */
const MAX_SHOWN_KEY = 64;

/** A document with everything in it; a report that cannot be read says why. */
export function documentSections(
  document: EvidenceDocument,
  prefix = '',
  rims: Beside['rims'] = [],
): readonly Section[] {
  const { keyset, cpu, devices, encoded } = document;
  const head: Section = {
    title: `${prefix}document`,
    rows: [
      ['digest', toHex(documentDigest(encoded, nodeCrypto))],
      ['bytes', String(encoded.length)],
      ['platform', cpu.platform],
      ['devices', devices.map(({ kind }) => kind).join(', ') || 'none'],
      ['boot log', document.bootLog ? `${document.bootLog.length} bytes` : 'none'],
      ['time anchor', document.timeAnchor ? `${document.timeAnchor.length} bytes` : 'none'],
      ['operator', document.operator ? `a statement of ${document.operator.length} bytes` : 'none'],
    ],
  };
  return [
    head,
    { title: `${prefix}statement`, rows: statementRows(document) },
    { title: `${prefix}keyset`, rows: keysetRows(keyset) },
    ...operatorSections(document.operator, prefix),
    ...cpuSections(cpu, `${prefix}cpu`),
    ...documentBootLogSections(document.bootLog, cpu, prefix),
    ...deviceSetSections(
      devices.map((device) => () => device),
      { prefix, rims, leavesOnly: true },
    ),
  ];
}

function operatorSections(encoded: Uint8Array | undefined, prefix: string): readonly Section[] {
  if (!encoded) return [];
  return readable(`${prefix}operator statement`, () => [operatorSection(encoded, prefix)]);
}

function statementRows({ statement }: EvidenceDocument): readonly Row[] {
  return [
    ['seq', String(statement.seq)],
    ['final', yes(statement.final)],
    ['keyset digest', toHex(statement.keysetDigest)],
    ['nonces', String(statement.nonceCount)],
    ['nonce root', toHex(statement.nonceRoot)],
    ['log size', String(statement.logSize)],
    ['log root', toHex(statement.logRoot)],
    ['previous', statement.previous ? toHex(statement.previous) : 'none'],
  ];
}

function keysetRows(keyset: Keyset): readonly Row[] {
  return [
    ['instance', instanceUrn(keyset.instance)],
    ['generation', String(keyset.generation)],
    ['software', `${keyset.software.name} ${keyset.software.version}`],
    ['ends', secondsText(keyset.notAfter)],
    ['receipt key', keyText(keyset.receipt)],
    ['log key', keyText(keyset.log)],
    ['log origin', keyset.origin],
    ['inclusion key', keyText(keyset.inclusion)],
    ...keyset.hpke.map(({ kem, kdf, aead, publicKey }): Row => {
      const suite = [kem, kdf, aead].map((id) => `0x${id.toString(16).padStart(4, '0')}`).join(' ');
      const long = publicKey.length > MAX_SHOWN_KEY;
      const shown = long
        ? `${publicKey.length} bytes, SHA-256 ${toHex(nodeCrypto.hash('sha256', publicKey))}`
        : toHex(publicKey);
      return ['HPKE key', `${shown} (suite ${suite})`];
    }),
    ['TLS key', keyset.tlsSpki ? toHex(keyset.tlsSpki) : 'none: TLS does not end in the VM'],
  ];
}

function keyText(key: CoseKey): string {
  const name = Object.entries(ALG).find(([, alg]) => alg === key.alg)?.[0] ?? `alg ${String(key.alg)}`;
  return `${name} ${toHex(key.x)}`;
}
