import { concat, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';

const HASH = 'sha384';
const REGISTER_BYTES = 48;

/** What an enclave is started from, in the order of its image file. The first RAM disk brings the system up. */
export interface EnclaveParts {
  readonly kernel: Uint8Array;
  /** Without a NUL: the image format has none. */
  readonly cmdline: string;
  readonly ramdisks: readonly Uint8Array[];
}

/**
 * SHA-384 of parts of an image, one after the other. Whoever reads large files makes them as they pass by; nothing else
 * is needed to know the registers.
 */
export interface EnclaveDigests {
  /** Kernel, command line, all RAM disks. */
  readonly image: Uint8Array;
  /** Kernel, command line, first RAM disk. */
  readonly boot: Uint8Array;
  /** All RAM disks but the first. */
  readonly application: Uint8Array;
  /** The certificate, DER, that signed PCR0. Absent where the image is not signed: PCR8 is zero. */
  readonly certificate?: Uint8Array | undefined;
}

/** Registers of an enclave that follow from its image, 48 bytes each. */
export type EnclaveRegister = '0' | '1' | '2' | '3' | '4' | '8';
export type EnclavePcrs = Readonly<Partial<Record<EnclaveRegister, Uint8Array>>>;
/** Those that every image has, and PCR8 where it is signed. */
export type ImagePcrs = EnclavePcrs & Readonly<Record<'0' | '1' | '2', Uint8Array>>;

/** «EIF Measurements» of the image format: only data of sections counts, without any header. */
export function digestEnclaveParts(
  { kernel, cmdline, ramdisks }: EnclaveParts,
  crypto: CryptoProvider,
): EnclaveDigests {
  const [first, ...rest] = ramdisks;
  if (!first) throw new PredictError('IMAGE_MALFORMED', 'an enclave has a RAM disk at least');
  const boot = [kernel, utf8(cmdline), first];
  const hash = (parts: readonly Uint8Array[]): Uint8Array => crypto.hash(HASH, concat(...parts));
  return { image: hash([...boot, ...rest]), boot: hash(boot), application: hash(rest) };
}

/** PCR0, PCR1, PCR2, and PCR8 of a signed image: each starts with zeros and is extended once. */
export function enclavePcrs(digests: EnclaveDigests, crypto: CryptoProvider): ImagePcrs {
  const { image, boot, application, certificate } = digests;
  const pcrs = {
    0: extendOnce(requireDigest(image), crypto),
    1: extendOnce(requireDigest(boot), crypto),
    2: extendOnce(requireDigest(application), crypto),
  };
  if (certificate === undefined) return pcrs;
  return { ...pcrs, 8: extendOnce(requireDigest(certificate), crypto) };
}

/** What the parent instance is, which the hypervisor states: no image decides it. */
export interface ParentInstance {
  /** `arn:aws:iam::<account>:role/<name>`, of the role that the parent instance has. */
  readonly roleArn?: string | undefined;
  /** `i-` and hex digits. It is known only after the parent instance was launched. */
  readonly instanceId?: string | undefined;
}

/**
 * PCR3 and PCR4 («Where to get an enclave's measurements» of the user guide): the text itself is what the register is
 * extended with, not its digest.
 */
export function parentPcrs({ roleArn, instanceId }: ParentInstance, crypto: CryptoProvider): EnclavePcrs {
  if (roleArn !== undefined && !/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,576}$/.test(roleArn)) {
    throw new PredictError('PROFILE_INVALID', `${roleArn} is not the ARN of a role`);
  }
  if (instanceId !== undefined && !/^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/.test(instanceId)) {
    throw new PredictError('PROFILE_INVALID', `${instanceId} is not the id of an instance`);
  }
  return {
    ...(roleArn === undefined ? {} : { 3: extendOnce(utf8(roleArn), crypto) }),
    ...(instanceId === undefined ? {} : { 4: extendOnce(utf8(instanceId), crypto) }),
  };
}

/** Registers of one name, as `cpu.nitro.measurements` of a policy takes them: all of them must match. */
export interface NitroMeasurement {
  readonly name: string;
  readonly pcrs: Readonly<Partial<Record<EnclaveRegister, string>>>;
}

/**
 * The part of a policy below `cpu.nitro`: PCR0 alone names the whole image; PCR1 and PCR2 say which half of it differs
 * where it does.
 */
export function nitroPolicyPart(
  name: string,
  pcrs: EnclavePcrs,
): { readonly measurements: readonly NitroMeasurement[] } {
  const entries = Object.entries(pcrs).map(([index, value]) => [index, toHex(value)] as const);
  return { measurements: [{ name, pcrs: Object.fromEntries(entries) }] };
}

function extendOnce(bytes: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash(HASH, concat(new Uint8Array(REGISTER_BYTES), bytes));
}

function requireDigest(digest: Uint8Array): Uint8Array {
  if (digest.length === REGISTER_BYTES) return digest;
  throw new PredictError('PROFILE_INVALID', `a digest of ${digest.length} bytes where SHA-384 has 48`);
}
