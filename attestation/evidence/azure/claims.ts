import * as z from 'zod';
import { fromBase64Url, fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';

const AK = 'HCLAkPub';
const EK = 'HCLEkPub';
/** The virtual TPM has RSA-2048 keys; larger ones are bounded by what anyone verifies. */
const MIN_MODULUS_BITS = 2048;
const MAX_MODULUS_BITS = 4096;
const CLAIM_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const scalar = z.union([z.boolean(), z.number(), z.string().max(1024), z.null()]);

/** RFC 7517 as the paravisor writes it. Early ones gave the attestation key the operation `encrypt`. */
const rsaJwk = z.strictObject({
  kid: z.enum([AK, EK]),
  key_ops: z.array(z.enum(['sign', 'encrypt'])).length(1),
  kty: z.literal('RSA'),
  /** 65537. */
  e: z.literal('AQAB'),
  n: z.string().max(700),
});

/** Members besides these are kept by name: a policy says whether it accepts what it cannot judge. */
const vmConfiguration = z
  .object({
    'console-enabled': z.boolean(),
    'interactive-console-enabled': z.boolean().optional(),
    'secure-boot': z.boolean(),
    'tpm-enabled': z.boolean(),
    'tpm-persisted': z.boolean().optional(),
    'filtered-vpci-devices-allowed': z.boolean().optional(),
    /** Hash of the provisioning certificate; empty in some paravisors. */
    'root-cert-thumbprint': z
      .string()
      .regex(/^[A-Za-z0-9_-]{0,128}$/)
      .optional(),
    /** Seconds since 1970 by the host's clock. */
    'current-time': z.int().optional(),
    vmUniqueId: z.string().regex(/^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/),
  })
  .catchall(scalar);

const runtimeClaims = z
  .object({
    keys: z.array(rsaJwk).min(1).max(2),
    'vm-configuration': vmConfiguration,
    /** 64 bytes that the guest wrote to NV index 0x01400002; zero where it never did. */
    'user-data': z
      .string()
      .regex(/^[0-9A-Fa-f]{128}$/)
      .optional(),
  })
  .catchall(z.unknown());

type Configuration = z.infer<typeof vmConfiguration>;

export interface RsaPublicKey {
  /** Big endian, without leading zeros. */
  readonly n: Uint8Array;
  readonly e: Uint8Array;
}

/** How the host configured the VM, as the paravisor was told. Undefined where this paravisor does not say. */
export interface VmConfiguration {
  readonly secureBoot: boolean;
  /** The host may read the serial console. */
  readonly consoleEnabled: boolean;
  /** The host may write to it. */
  readonly interactiveConsoleEnabled: boolean | undefined;
  readonly tpmEnabled: boolean;
  /** The state of the virtual TPM outlives a boot. */
  readonly tpmPersisted: boolean | undefined;
  /** Certain virtual PCI devices of the host pass the device filter. */
  readonly filteredVpciDevicesAllowed: boolean | undefined;
  readonly rootCertThumbprint: string | undefined;
  readonly currentTime: number | undefined;
  /** GUID in lower case. */
  readonly vmUniqueId: string;
}

/** Runtime claims as their JSON says; nothing in them is trusted until `verifyRuntimeClaims` returns them. */
export interface RuntimeClaims {
  /** Attestation key of the virtual TPM: the key that signs its quotes. */
  readonly ak: RsaPublicKey;
  readonly ek: RsaPublicKey | undefined;
  readonly vm: VmConfiguration;
  /** 64 bytes. */
  readonly userData: Uint8Array | undefined;
  /** Names of claims that are not known here. */
  readonly unknown: readonly string[];
}

/** Parses runtime claims: strict JSON with exactly one attestation key. */
export function parseRuntimeClaims(bytes: Uint8Array): RuntimeClaims {
  const result = runtimeClaims.safeParse(parseJson(bytes, 'the text of the runtime claims'));
  if (!result.success) {
    const [issue] = result.error.issues;
    const path = issue?.path.map((part) => String(part).slice(0, 40)).join('.') ?? '';
    throw malformed(`are ${issue?.code ?? 'wrong'} at «${path}»`);
  }
  const claims = result.data;
  const configuration = claims['vm-configuration'];
  const userData = claims['user-data'];
  const unknown = [
    ...unknownNames(claims, runtimeClaims.shape),
    ...unknownNames(configuration, vmConfiguration.shape).map((name) => `vm-configuration.${name}`),
  ];
  return {
    ...readKeys(claims.keys),
    vm: readConfiguration(configuration),
    userData: userData === undefined ? undefined : fromHex(userData.toLowerCase()),
    unknown,
  };
}

/** Exactly one attestation key: with two, one verifier could take the other. */
function readKeys(keys: readonly z.infer<typeof rsaJwk>[]): Pick<RuntimeClaims, 'ak' | 'ek'> {
  const [ak, secondAk] = keys.filter(({ kid }) => kid === AK);
  const [ek, secondEk] = keys.filter(({ kid }) => kid === EK);
  if (!ak) throw malformed(`have no key ${AK}`);
  if (secondAk ?? secondEk) throw malformed('have a key twice');
  return { ak: readKey(ak), ek: ek && readKey(ek) };
}

function readKey({ kid, e, n }: z.infer<typeof rsaJwk>): RsaPublicKey {
  const modulus = fromBase64Url(n);
  const [first = 0] = modulus;
  const bits = 8 * modulus.length - (Math.clz32(first) - 24);
  const odd = ((modulus.at(-1) ?? 0) & 1) === 1;
  if (first === 0 || !odd || bits < MIN_MODULUS_BITS || bits > MAX_MODULUS_BITS) {
    throw malformed(`have a key ${kid} of ${bits} bits that is no RSA-2048 to RSA-4096 modulus`);
  }
  return { n: modulus, e: fromBase64Url(e) };
}

function readConfiguration(configuration: Configuration): VmConfiguration {
  return {
    secureBoot: configuration['secure-boot'],
    consoleEnabled: configuration['console-enabled'],
    interactiveConsoleEnabled: configuration['interactive-console-enabled'],
    tpmEnabled: configuration['tpm-enabled'],
    tpmPersisted: configuration['tpm-persisted'],
    filteredVpciDevicesAllowed: configuration['filtered-vpci-devices-allowed'],
    rootCertThumbprint: configuration['root-cert-thumbprint'],
    currentTime: configuration['current-time'],
    vmUniqueId: configuration.vmUniqueId.toLowerCase(),
  };
}

function unknownNames(claims: object, known: object): readonly string[] {
  const names = Object.keys(claims).filter((name) => !Object.hasOwn(known, name));
  if (!names.every((name) => CLAIM_NAME.test(name))) {
    throw malformed('have a name that is not 1 to 64 letters, digits, hyphens and underscores');
  }
  return names;
}

function malformed(problem: string): Refusal {
  return new Refusal('MALFORMED', `the runtime claims ${problem}`);
}
