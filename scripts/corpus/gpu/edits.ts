import {
  concat,
  fromBase64Url,
  fromHex,
  fromUtf8,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
} from '../../../attestation/bytes/bytes.ts';
import { parseStrictJson, parseStrictJsonText } from '../../../attestation/json/strict.ts';
import { certificatesIn } from '../files.ts';

/** Changes of one file. Each throws where the file has no such place: then the variant means something else. */
export interface BytesEdit {
  readonly xor?: { readonly offset: number; readonly mask: number } | undefined;
  /** Bytes cut from the end. */
  readonly truncate?: number | undefined;
  /** Hex of bytes added at the end. */
  readonly append?: string | undefined;
}

/** `hexText` says that the file is the hex of the bytes that are meant. */
export function editBytes(file: Uint8Array, edit: BytesEdit, hexText: boolean): Uint8Array {
  const bytes = hexText ? fromHex(fromUtf8(file).trim()) : file;
  const { xor, truncate = 0, append = '' } = edit;
  if (truncate > bytes.length) throw new Error(`there are no ${truncate} bytes to cut`);
  const edited = concat(bytes.subarray(0, bytes.length - truncate), fromHex(append));
  if (xor) {
    const byte = edited[xor.offset];
    if (byte === undefined) throw new Error(`there is no byte ${xor.offset} to change`);
    edited[xor.offset] = byte ^ xor.mask;
  }
  return hexText ? utf8(`${toHex(edited)}\n`) : edited;
}

/** A PEM chain of the certificates at these positions, in this order. */
export function keepCertificates(file: Uint8Array, keep: readonly number[]): Uint8Array {
  const certificates = certificatesIn(file);
  return utf8(keep.map((position) => pem(at(certificates, position, 'certificate'))).join(''));
}

function pem(der: Uint8Array): string {
  const lines = toBase64(der).replaceAll(/.{1,64}/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`;
}

function at<T>(list: readonly T[], position: number, what: string): T {
  const found = list[position];
  if (found === undefined) throw new Error(`there is no ${what} ${position}`);
  return found;
}

export interface ListEdit {
  readonly drop?: readonly number[] | undefined;
  /** Position of an entry, and of the one that is copied over it. */
  readonly replace?: Readonly<Record<string, number>> | undefined;
  readonly swapCertificate?: readonly [number, number] | undefined;
}

/** Evidence JSON of several devices: an array, or an object that holds it. */
export function editDevices(file: Uint8Array, edit: ListEdit): Uint8Array {
  const json = parseStrictJson(file);
  const member = ['evidences', 'evidence_list'].find((name) => isRecord(json) && Array.isArray(json[name]));
  if (member !== undefined && isRecord(json)) {
    return encodeJson({ ...json, [member]: editList(json[member] as readonly unknown[], edit) });
  }
  if (!Array.isArray(json)) throw new Error('the file is no list of devices');
  return encodeJson(editList(json as readonly unknown[], edit));
}

/** All positions are those of the file as it is. */
function editList(list: readonly unknown[], edit: ListEdit): readonly unknown[] {
  const { drop = [], replace = {}, swapCertificate } = edit;
  const entries = list.map((entry) => {
    if (!isRecord(entry)) throw new Error('an entry of the list is no object');
    return entry;
  });
  for (const position of drop) at(entries, position, 'entry');
  for (const position of Object.keys(replace)) at(entries, Number(position), 'entry');
  const [a, b] = swapCertificate ?? [-1, -1];
  const swapped = entries.map((entry, i) => {
    if (i !== a && i !== b) return entry;
    return { ...entry, certificate: at(entries, i === a ? b : a, 'entry')['certificate'] };
  });
  if (swapCertificate) for (const position of swapCertificate) at(entries, position, 'entry');
  return swapped
    .map((entry, i) => {
      const source = Object.hasOwn(replace, String(i)) ? replace[String(i)] : undefined;
      return source === undefined ? entry : at(swapped, source, 'entry');
    })
    .filter((_, i) => !drop.includes(i));
}

export interface TokenEdit {
  /** Members of the payload that are set. */
  readonly set?: Readonly<Record<string, unknown>> | undefined;
  /** Members of the header that are set. */
  readonly header?: Readonly<Record<string, unknown>> | undefined;
  /** In place of the signature part, which otherwise stays as it is. */
  readonly signature?: string | undefined;
}

/** Changes the overall token of an answer of the service, or of a file that is this token. */
export function editOverallToken(file: Uint8Array, edit: TokenEdit): Uint8Array {
  const answer = readAnswer(file);
  if (!answer) return utf8(editToken(fromUtf8(file).trim(), edit));
  return encodeJson([['JWT', editToken(answer.overall, edit)], answer.devices]);
}

function editToken(token: string, { set = {}, header = {}, signature }: TokenEdit): string {
  const parts = token.split('.');
  const [head = '', payload = '', kept = ''] = parts;
  if (parts.length !== 3) throw new Error('the token is not three parts');
  return [editPart(head, header), editPart(payload, set), signature ?? kept].join('.');
}

function editPart(part: string, members: Readonly<Record<string, unknown>>): string {
  if (Object.keys(members).length === 0) return part;
  const value = parseStrictJsonText(fromUtf8(fromBase64Url(part)));
  if (!isRecord(value)) throw new Error('a part of the token is no object');
  return toBase64Url(encodeJson({ ...value, ...members }));
}

/** Leaves out the token of one device; the overall token still names it. */
export function removeDevice(file: Uint8Array, label: string): Uint8Array {
  const answer = readAnswer(file);
  if (!answer || !Object.hasOwn(answer.devices, label)) throw new Error(`there is no token ${label}`);
  const devices = Object.entries(answer.devices).filter(([name]) => name !== label);
  return encodeJson([['JWT', answer.overall], Object.fromEntries(devices)]);
}

interface Answer {
  readonly overall: string;
  readonly devices: Readonly<Record<string, unknown>>;
}

const OPEN_BRACKET = '[';

/** `[["JWT", overall], {label: token}]`; undefined for a token alone. */
function readAnswer(file: Uint8Array): Answer | undefined {
  if (!fromUtf8(file).trimStart().startsWith(OPEN_BRACKET)) return undefined;
  const [first, devices] = parseStrictJson(file) as readonly unknown[];
  const overall: unknown = Array.isArray(first) ? first[1] : undefined;
  if (typeof overall !== 'string' || !isRecord(devices)) throw new Error('the file is no answer with tokens');
  return { overall, devices };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function encodeJson(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}
