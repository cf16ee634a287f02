import type { AnchorRole } from '../anchors.ts';
import { FORMAT, HASH, type Methods, ruled } from './method.ts';

const CPU_ROOTS: readonly AnchorRole[] = [
  'amd-ark',
  'intel-sgx-root',
  'aws-nitro',
  'azure-vtpm',
  'gcp-vtpm',
  'tpm',
];

/** Checks of the CPU. */
export const CPU: Methods = {
  'cpu.platform': ruled('cpu', 'the platform of the CPU evidence', 'the platforms that the policy names'),
  'cpu.format': {
    reads: ['cpu'],
    compares: ['every field of the report', "the vendor's layout"],
    trusts: FORMAT,
  },
  'cpu.chain': {
    reads: ['cpu'],
    compares: [
      'the issuer signature on each certificate, and its dates',
      'the next key up to the root, and the judged time',
    ],
    trusts: 'the pinned root key of the CPU vendor',
    anchors: CPU_ROOTS,
    collateral: ['certificates', 'crls'],
  },
  'cpu.revocation': {
    reads: ['cpu'],
    compares: [
      'the serials of the certificates',
      "the vendor's revocation lists, in date at the judged time",
    ],
    trusts: 'revocation lists that the same root signs',
    anchors: CPU_ROOTS,
    collateral: ['crls', 'ocspResponses'],
  },
  'cpu.collateral': {
    reads: ['cpu'],
    compares: [
      'signature, dates and platform of TCB info and identities',
      'the key of their signer, the judged time, and this platform',
    ],
    trusts: "the vendor's signing key under the pinned root",
    anchors: ['intel-sgx-root'],
    collateral: ['tcbInfos', 'qeIdentities', 'crls'],
  },
  'cpu.endorsement': {
    reads: ['cpu'],
    compares: ['chip id and firmware levels in the report', 'chip id and firmware levels in the certificate'],
    trusts: 'the certificate that the chain leads to',
  },
  'cpu.signature': {
    reads: ['cpu'],
    compares: [
      'the signature at the end of the report',
      'the bytes before it, under the key of the certificate',
    ],
    trusts: 'the certificate that the chain leads to',
  },
  'cpu.quoting-enclave': {
    reads: ['cpu'],
    compares: [
      'report and key hash of the quoting enclave',
      "the vendor's identity of that enclave, and the key that signed the quote",
    ],
    trusts: "the vendor's statement of its quoting enclave",
    collateral: ['qeIdentities'],
  },
  'cpu.runtime-claims': {
    reads: ['cpu'],
    compares: ['the hash in the report data of the hardware report', 'SHA-256 of the runtime claims'],
    trusts: 'the hardware report',
  },
  'cpu.vtpm-key': {
    reads: ['cpu'],
    compares: [
      'the attestation key of the virtual TPM',
      'the key in the runtime claims, or its certificates',
    ],
    trusts: 'the hardware report, or the pinned root of the TPM',
    anchors: ['azure-vtpm', 'gcp-vtpm', 'tpm'],
  },
  'cpu.vtpm-quote': {
    reads: ['cpu'],
    compares: ['signature and register digest of the quote', 'the attestation key, and the register values'],
    trusts: 'the attestation key of the TPM',
  },
  'cpu.boot-log': {
    reads: ['boot-log', 'cpu'],
    compares: ['registers replayed from the boot log', 'registers that the hardware signed'],
    trusts: 'the signed registers',
  },
  'cpu.binding': {
    reads: ['cpu', 'statement', 'devices'],
    compares: [
      'the 64 bytes of report data in the CPU report',
      'SHA-512(dc(["vouchsafe/report-data/1", SHA-256(statement), SHA-256(devices)]))',
    ],
    trusts: HASH,
  },
  'cpu.debug': ruled('cpu', 'the debug flags of the launch', 'what the policy accepts'),
  'cpu.guest-policy': ruled('cpu', 'the options of the launch', 'the options that the policy demands'),
  'cpu.privilege': ruled('cpu', 'the privilege level of the request', 'the level that the policy pins'),
  'cpu.tcb': ruled('cpu', 'the firmware levels of the report', 'the least levels of the policy'),
  'cpu.identity': ruled('cpu', 'product, kind of key and chip id', 'those that the policy allows'),
  'cpu.measurement': ruled(
    'cpu',
    'measurement of the launched software',
    'the reference values of the policy',
  ),
};
