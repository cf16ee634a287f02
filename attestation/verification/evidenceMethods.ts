import type { AnchorRole } from '../anchors.ts';
import { FORMAT, HASH, type Method, type Methods, POLICY, ruled } from './method.ts';

const DEVICE_ROOTS: readonly AnchorRole[] = ['nvidia-device'];
const RIM_ROOTS: readonly AnchorRole[] = ['nvidia-rim'];

/** Checks of the evidence document. */
export const DOCUMENT: Methods = {
  'document.format': {
    reads: ['document'],
    compares: ['the bytes of the document', 'their one deterministic encoding, with known members only'],
    trusts: FORMAT,
  },
  'document.keyset': {
    reads: ['keyset', 'statement'],
    compares: ['the keyset digest in the statement', 'SHA-256(dc(["vouchsafe/keyset-digest/1", keyset]))'],
    trusts: HASH,
  },
  'document.nonce': {
    reads: ['statement'],
    compares: ['the nonce root in the statement', 'the RFC 9162 root that your nonce and its path give'],
    trusts: 'the nonce that you chose',
  },
  'document.time': {
    reads: ['keyset'],
    compares: ['not_after of the keyset', 'the judged time'],
    trusts: 'the time that the caller gave',
  },
  'document.lower': {
    reads: ['time-anchor', 'statement'],
    compares: [
      'digest, signer and time of the time anchor',
      'the digest in the statement, and authorities of the policy',
    ],
    trusts: 'timestamp authorities and witnesses that you name',
    anchors: ['timestamp'],
  },
  'document.simulated': {
    reads: ['cpu', 'devices'],
    compares: [
      'components whose root is one of the published simulated ones',
      'the set that the policy names',
    ],
    trusts: POLICY,
  },
  'operator.statement': {
    reads: ['operator', 'keyset'],
    compares: [
      'signer, dates and instance of the statement',
      'organisations that you name, the judged time, and this instance',
    ],
    trusts: 'the key of an organisation that you name',
    anchors: ['operator'],
  },
};

/** Checks of devices. */
export const DEVICES: Methods = {
  'devices.count': ruled(
    'devices',
    'number and kind of the devices that verified',
    'what the policy demands',
  ),
  'devices.distinct': {
    reads: ['devices'],
    compares: ['the serial of each leaf certificate', 'the serials of the others'],
    trusts: 'nothing more',
  },
  'devices.binding': {
    reads: ['devices', 'cpu'],
    compares: [
      'SHA-256 of the encoded reports and certificates',
      'what the report data of the CPU commits to',
    ],
    trusts: 'the CPU report',
  },
  'devices.mode': ruled('devices', 'the mode of each device', 'the mode of the others'),
  'devices.topology': ruled('devices', 'the links that devices name', 'the other devices of this document'),
  'device.format': {
    reads: ['device'],
    compares: ['every field of the report', 'SPDM and the layout of the vendor'],
    trusts: FORMAT,
  },
  'device.chain': {
    reads: ['device'],
    compares: [
      'the issuer signature on each certificate, and its dates',
      'the next key up to the root, and the judged time',
    ],
    trusts: 'the pinned root key of the device vendor',
    anchors: DEVICE_ROOTS,
    collateral: ['certificates'],
  },
  'device.revocation': {
    reads: ['device'],
    compares: ['the certificates of the device', "the vendor's OCSP answers, in date at the judged time"],
    trusts: 'responders under the same root',
    anchors: DEVICE_ROOTS,
    collateral: ['ocspResponses'],
  },
  'device.signature': {
    reads: ['device'],
    compares: [
      'the signature at the end of the report',
      'request and response before it, under the key of the leaf certificate',
    ],
    trusts: 'the certificate that the chain leads to',
  },
  'device.nonce': {
    reads: ['device', 'statement'],
    compares: [
      'the nonce in the device report',
      'SHA-256(dc(["vouchsafe/gpu-nonce/1", SHA-256(statement)]))',
    ],
    trusts: HASH,
  },
  'device.firmware-id': {
    reads: ['device'],
    compares: ['the firmware id in the report', 'the firmware id in the certificate'],
    trusts: 'the certificate that the chain leads to',
  },
  'device.mode': ruled('device', 'mode and features of the device', 'the modes that the policy accepts'),
  'device.identity': ruled(
    'device',
    'chip, board, driver and serial of the device',
    'those that the policy allows',
  ),
  'device.driver-reference': rim('driver'),
  'device.vbios-reference': rim('VBIOS'),
  'device.reference-revocation': {
    reads: ['device'],
    compares: [
      'the signers of the reference values',
      "the vendor's OCSP answers, in date at the judged time",
    ],
    trusts: 'responders under the same root',
    anchors: RIM_ROOTS,
    collateral: ['ocspResponses'],
  },
  'device.measurements': {
    reads: ['device'],
    compares: ['each measurement in the report', 'the reference value of the same index'],
    trusts: "the vendor's reference values",
    collateral: ['rims'],
  },
};

function rim(of: string): Method {
  return {
    reads: ['device'],
    compares: [
      `signature and version of the reference values of the ${of}`,
      `the key of their signer, and the ${of} in the report`,
    ],
    trusts: "the vendor's signing key under the pinned root of reference values",
    anchors: RIM_ROOTS,
    collateral: ['rims'],
  };
}
