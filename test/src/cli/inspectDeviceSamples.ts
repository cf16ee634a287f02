import { concat, fromHex, toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { createSimulatedGpu } from '../../../enclave/collect/simulated/nvidia.ts';
import { DRIVER_RIM_ID, VBIOS_RIM_ID } from '../../../enclave/collect/simulated/reference.ts';
import { createSimulatedRims } from '../../../enclave/collect/simulated/rim.ts';
import * as nras from '../../support/nrasService.ts';
import {
  linksField,
  mintDevice,
  NONCE,
  portsField,
  type DeviceSpec,
  type Fields,
} from '../../support/nvidiaMachine.ts';
import * as ocsp from '../../support/ocspAuthority.ts';
import { pem } from '../collateral/minted.ts';
import type { Sample } from './inspectSamples.ts';

const SWITCH_PDI = '203eb31ad9ed0008';
const GPU_PDIS = ['1043c14e83599663', '31649cf11c820858'];

/** Fields that the devices of the other tests leave out. */
const MORE_FIELDS: Fields = new Map([
  [12, concat(Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0, 130, 0, 0, 0), new Uint8Array(4))],
  [13, fromHex('00c00100')],
  [14, fromHex('b1030000')],
  [16, utf8('0\0\0\0\0')],
  [19, fromHex('0000')],
]);

async function evidenceOf(spec: DeviceSpec, nonce = NONCE): Promise<DeviceEvidence> {
  return (await mintDevice(spec)).evidence(nonce);
}

/** An entry as collectors and requests write it. */
export function entryOf({ report, certificates }: DeviceEvidence, more: object = {}): object {
  return { evidence: toBase64(report), certificate: toBase64(utf8(pem(...certificates))), ...more };
}

export interface DeviceMaterial {
  readonly gpu: DeviceEvidence;
  readonly blackwell: DeviceEvidence;
  readonly hopper: DeviceEvidence;
  readonly lockedSwitch: DeviceEvidence;
  /** Of the simulated collector, with manifests. */
  readonly simulated: DeviceEvidence;
  readonly rims: readonly [driver: Uint8Array, vbios: Uint8Array];
}

export async function mintDeviceMaterial(): Promise<DeviceMaterial> {
  const collector = await createSimulatedGpu('spt');
  const rims = await createSimulatedRims();
  const rim = (id: string) => rims.get(id) ?? new Uint8Array();
  return {
    gpu: await evidenceOf({ fields: MORE_FIELDS }),
    blackwell: await evidenceOf({ chip: 'GB20X', mode: 'mpt', fields: new Map([[11, fromHex('aa')]]) }),
    hopper: await evidenceOf({ mode: 'ppcie', fields: new Map([[22, linksField([SWITCH_PDI])]]) }),
    lockedSwitch: await evidenceOf({
      chip: 'LS10',
      pdi: SWITCH_PDI,
      fields: new Map([
        [22, fromHex(SWITCH_PDI)],
        [23, fromHex('ec00')],
        [24, fromHex('0200')],
        [26, portsField(GPU_PDIS)],
      ]),
    }),
    simulated: {
      kind: 'gpu',
      report: await collector.report(NONCE),
      certificates: collector.certificates,
    },
    rims: [rim(DRIVER_RIM_ID), rim(VBIOS_RIM_ID)],
  };
}

const GPU_SAYS = [
  'chip  GH100', 'mode  spt', 'mode stated  single GPU passthrough (SPT), by the feature flag (field 36)', 'driver  550.90.07',
  'VBIOS  96.00.9F.00.04', 'NVDEC0  0x55: off', 'protected PCIe  0x55: off', 'opaque version  1', 'NV_GPU_DRIVER_GH100_550.90.07',
  'NV_GPU_VBIOS_1010_0200_882_96009F0004', `nonce  ${toHex(NONCE)}`, '12, VBIOS RIM  0d0d', '(NVDEC0 is off: not judged)',
]; // prettier-ignore

/** Reports in every text, alone, with their chain, and several in one file. */
function reportSamples({ gpu, blackwell, hopper, lockedSwitch }: DeviceMaterial): readonly Sample[] {
  const { report } = gpu;
  const hex = toHex(report);
  const chain = utf8(pem(...gpu.certificates));
  const request = { nonce: toHex(NONCE), arch: 'HOPPER', claims_version: '3.0' };
  const kind = 'device-report';
  const chained = [
    'certified chip  GH100',
    'certificates  5',
    'device certificate 5',
    '(that of the report)',
  ];
  return [
    { name: 'GPU report', kind, bytes: report, says: [...GPU_SAYS, 'register extensions  1 time: 0-1; 130 times: 2; never: 3', 'board id  b1030000', 'chip SKU mod  3000000000 «0»'] },
    { name: 'GPU report in hex', kind, bytes: utf8(`${hex.toUpperCase()}\n`), says: ['hex', ...GPU_SAYS] },
    { name: 'GPU report in base64', kind, bytes: utf8(toBase64(report)), says: ['base64', ...GPU_SAYS] },
    { name: 'GPU report in hex in base64', kind, bytes: utf8(toBase64(utf8(hex))), says: ['base64 of hex', ...GPU_SAYS] },
    { name: 'Blackwell report', kind, bytes: blackwell.report, says: ['GB20X GB202', 'mode  mpt', 'SYS_ENABLE_STATUS  0707', 'NVDEC0  0xaa: on', '35, RIM unknown  24', 'NV_GPU_CC_DRIVER_GB202_550.90.07'] },
    { name: 'report in protected PCIe', kind, bytes: hopper.report, says: ['mode  ppcie', 'links  16 of 18 active', `${SWITCH_PDI} (link 0-15; in the report 0800edd91ab33e20)`] },
    { name: 'switch report', kind, bytes: lockedSwitch.report, says: ['kind  switch', 'BIOS  96.10.55.00.01', 'locked  yes', 'position  2 (0200)', `own PDI  ${SWITCH_PDI}`, `${GPU_PDIS[1]!} (place 1)`, 'NV_SWITCH_BIOS_5612_0002_890_9610550001', '30, BIOS RIM'] },
    { name: 'report and chain', kind: 'device-report-chain', bytes: concat(report, chain), says: [...GPU_SAYS, ...chained] },
    { name: 'report and chain in hex', kind: 'device-report-chain', bytes: concat(utf8(`${hex}\n`), chain), says: [...GPU_SAYS, ...chained] },
    { name: 'device evidence', kind: 'device-evidence', bytes: json([entryOf(gpu, { arch: 'HOPPER', driver_version: '1.2.3' }), entryOf(gpu), entryOf(lockedSwitch)]), says: [...GPU_SAYS, 'said driver  1.2.3', 'as device 0', 'device 2  switch, BIOS', 'as device 0 certificate 5'] },
    { name: 'device evidence of a tool', kind: 'device-evidence', bytes: json({ evidences: [entryOf(blackwell)], result_code: 0, result_message: 'Ok' }), says: ['result message  Ok', 'gpu GB20X, mpt'] },
    { name: 'NRAS request', kind: 'nras-request', bytes: json({ ...request, evidence_list: [entryOf(gpu), entryOf(hopper)] }), says: ['claims version  3.0', '(that of the request)', 'device 1'] },
    { name: 'NRAS request of version 1', kind: 'nras-request', bytes: json({ nonce: '11'.repeat(32), arch: 'HOPPER', ...entryOf(gpu), evidence: toBase64(utf8(hex)) }), says: ['(NOT that of the request)', 'written as  base64 of hex'] },
  ]; // prettier-ignore
}

function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

/** Manifests and what responders say of certificates. */
function collateralSamples({ rims: [driver, vbios] }: DeviceMaterial): readonly Sample[] {
  const { deviceIdentity, deviceRoot } = ocsp.AUTHORITY;
  const identity = ocsp.certificateOf(deviceIdentity);
  const good = ocsp.respond(deviceRoot, identity);
  const held = ocsp.respond(deviceRoot, identity, {
    status: ocsp.revoked(Date.parse('2026-05-01T00:00:00Z'), 6),
  });
  const signer = ['signer valid', 'signature certificate 4', 'SIMULATED', 'that of the manifest'];
  return [
    { name: 'driver RIM', kind: 'rim', bytes: driver, says: ['product  GH100', 'edition  GPU', 'version  999.01.02', 'active  7, 21-40', 'with alternatives  23', '23 (2 of 2)', 'foreign parts  none', ...signer] },
    { name: 'VBIOS RIM', kind: 'rim', bytes: vbios, says: ['version  FF.53.49.4D.01', '12 (4 of 4)', ...signer] },
    { name: 'RIM in base64', kind: 'rim', bytes: utf8(toBase64(driver)), says: ['version  999.01.02'] },
    { name: 'OCSP response', kind: 'ocsp-response', bytes: good, says: ['status  good', 'valid  2026-06-01T11:00:00Z to 2026-06-02T11:00:00Z', 'produced  2026-06-01T11:00:00Z', 'OCSP signing', `serial  ${toHex(identity.serial)}`] },
    { name: 'OCSP response about a hold', kind: 'ocsp-response', bytes: held, says: ['revoked since 2026-05-01T00:00:00Z (certificateHold)'] },
    { name: 'OCSP error', kind: 'ocsp-response', bytes: ocsp.encodeError(6), says: ['the OCSP responder answered unauthorized'] },
  ]; // prettier-ignore
}

/** Words of the attestation service. */
function tokenSamples(): readonly Sample[] {
  const key = nras.mintKey();
  const device = nras.mintDevice('gpu', 1);
  const other = nras.mintDevice('switch', 2);
  const tokens = nras.issueTokens(key, [device, other]);
  const [gpu = ''] = Object.values(tokens);
  const failed = { 'GPU-0': nras.signToken(key, nras.errorClaims()) };
  const overall = nras.signToken(key, nras.overallClaims(tokens, '4.0'));
  const withCertificate = { ...key.jwk, x5c: [nras.certificateOf(key, key)] };
  const rsa = { kty: 'RSA', kid: 'other', n: 'AQ', e: 'AQAB' };
  const said = ['overall-att-result  true', 'computed, not verified', 'alg  ES384', '(2026-11-21T11:59:30Z)'];
  return [
    { name: 'NRAS answer', kind: 'nras-answer', bytes: nras.issueAnswer(key, [device, other]), says: [...said, 'GPU-0 driver RIM (x-nvidia-gpu-driver-rim-…)', 'signature-verified  true', 'SWITCH-0 BIOS RIM', 'leaf serial 5353', 'status valid; ocsp-status good'] },
    { name: 'NRAS answer about an error', kind: 'nras-answer', bytes: nras.issueAnswer(key, [device], { tokens: failed, overall: { 'x-nvidia-overall-att-result': false } }), says: ['overall-att-result  false', 'NONCE_NOT_MATCHING', 'code 4010'] },
    { name: 'overall token', kind: 'jwt', bytes: utf8(`${overall}\n`), says: ['x-nvidia-ver  4.0', 'there is no such token here'] },
    { name: 'device token', kind: 'jwt', bytes: utf8(gpu), says: ['measres  success', 'gpu-driver-version  550.90.07', 'cert-chain-fwid-match  true'] },
    { name: 'key set', kind: 'jwks', bytes: nras.keySet(withCertificate, rsa), says: [key.kid, 'EC P-384', 'ES384 usable', 'RSA', 'ES384 no: UNTRUSTED_KEY', 'Attestation Service'] },
  ]; // prettier-ignore
}

/** One file of every kind of NVIDIA, in each of its forms. */
export function deviceSamples(material: DeviceMaterial): readonly Sample[] {
  return [...reportSamples(material), ...collateralSamples(material), ...tokenSamples()];
}
