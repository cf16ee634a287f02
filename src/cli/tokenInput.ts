import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { parseNrasRequest } from '../../attestation/evidence/nras/request.ts';
import type { SentDevice } from '../../attestation/evidence/nras/sentDevice.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { parseNrasPolicy, type NrasPolicy } from '../../attestation/policy/nras.ts';
import { parseAttestation } from '../client/attestation.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { KIND_NAMES, kindOf } from '../../attestation/recognition/ownKinds.ts';

/** Options that say which devices the service was asked about. */
export interface SentFlags {
  readonly request?: string;
  readonly devices?: string;
  readonly kind?: string;
}

/** The devices that were sent. A request that is for another nonce is not the one that was answered. */
export async function sentDevices(
  { request, devices, kind }: SentFlags,
  nonce: Uint8Array,
): Promise<readonly SentDevice[]> {
  if (kind !== undefined && kind !== 'gpu' && kind !== 'switch') {
    throw new CliError(EXIT.misuse, '--kind is gpu or switch: the service is asked about one kind at a time');
  }
  const sent = await readSent(request, devices, nonce);
  return kind === undefined ? sent : sent.filter((device) => device.kind === kind);
}

async function readSent(
  request: string | undefined,
  devices: string | undefined,
  nonce: Uint8Array,
): Promise<readonly SentDevice[]> {
  if (request !== undefined && devices === undefined) return devicesOfRequest(request, nonce);
  if (devices !== undefined && request === undefined) return devicesOfEvidence(devices);
  const advice = 'The service says which devices it saw; whether they are yours, only what you sent tells.';
  throw new CliError(EXIT.misuse, 'name what was sent to the service: --request or --devices', advice);
}

async function devicesOfRequest(path: string, nonce: Uint8Array): Promise<readonly SentDevice[]> {
  const request = parseNrasRequest(await readInput(path));
  if (equalBytes(request.nonce, nonce)) return request.devices;
  const message = `${path} asks with nonce ${toHex(request.nonce)}, and --nonce is ${toHex(nonce)}`;
  throw new CliError(EXIT.misuse, message);
}

async function devicesOfEvidence(path: string): Promise<readonly SentDevice[]> {
  const bytes = await readInput(path);
  const kind = kindOf(bytes);
  if (kind === 'document') return parseDocument(bytes).devices;
  if (kind === 'attestation') return parseDocument(parseAttestation(bytes).document).devices;
  if (kind === 'bundle') return parseDocument(parseBundle(bytes).cited).devices;
  if (kind === 'unknown') throw new CliError(EXIT.unreadable, `${path} is no file that is known here`);
  throw new CliError(EXIT.misuse, `${path} is a ${KIND_NAMES[kind]}, which holds no devices`);
}

export async function readTokenPolicy(path: string): Promise<NrasPolicy> {
  const bytes = await readInput(path);
  try {
    return parseNrasPolicy(parseStrictJson(bytes));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new CliError(EXIT.misuse, `${path} is no valid policy: the file ${error.message}`);
  }
}
