import { concat } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import type { Keyset } from '../../keyset.ts';
import { isKnown, KEM_X25519, SYMMETRIC, type Symmetric, X25519_BYTES } from './suite.ts';

export const KEYS_TYPE = 'application/ohttp-keys';
/** Where the gateway is, and where it says its keys. */
export const GATEWAY_PATH = '/.well-known/ohttp-gateway';

/** Key configuration of RFC 9458 section 3.1. */
export interface KeyConfig {
  /** 0 to 255. */
  readonly id: number;
  readonly kem: number;
  readonly publicKey: Uint8Array;
  /** In the order in which the gateway prefers them. */
  readonly symmetric: readonly Symmetric[];
}

/** One key of a gateway with the one way to seal to it that is taken. */
export interface GatewayKey {
  readonly id: number;
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly symmetric: Symmetric;
}

/** Npk of RFC 9180 section 7.1: without it nobody knows where a key of a KEM ends. */
const PUBLIC_KEY_BYTES: ReadonlyMap<number, number> = new Map([
  [0x0010, 65],
  [0x0011, 97],
  [0x0012, 133],
  [KEM_X25519, X25519_BYTES],
  [0x0021, 56],
]);
const MAX_CONFIGS = 16;

/** Number by which requests name the key of a generation. */
export function keyIdOf(generation: number): number {
  return generation % 256;
}

/** The configuration of a keyset's first HPKE key. A client makes it from the keyset that it verified itself. */
export function keyConfigOf({ generation, hpke }: Pick<Keyset, 'generation' | 'hpke'>): KeyConfig {
  const [first] = hpke;
  if (first?.kem !== KEM_X25519) throw new Refusal('UNSUPPORTED', 'the first HPKE key is not of X25519');
  return { id: keyIdOf(generation), kem: first.kem, publicKey: first.publicKey, symmetric: SYMMETRIC };
}

/** The first key and way to seal that are known here; refuses as `UNSUPPORTED` where there is none. */
export function chooseKey(configs: readonly KeyConfig[]): GatewayKey {
  for (const { id, kem, publicKey, symmetric } of configs) {
    const known = kem === KEM_X25519 ? symmetric.find(isKnown) : undefined;
    if (known) return { id, publicKey, symmetric: known };
  }
  throw new Refusal('UNSUPPORTED', 'no key configuration is of X25519, HKDF-SHA256 and AES-GCM');
}

/** A list of configurations as `application/ohttp-keys` has it: each with its length before it (section 3.2). */
export function encodeKeyConfigs(configs: readonly KeyConfig[]): Uint8Array {
  return concat(
    ...configs.map((config) => {
      const encoded = encodeKeyConfig(config);
      return concat(u16(encoded.length), encoded);
    }),
  );
}

function encodeKeyConfig({ id, kem, publicKey, symmetric }: KeyConfig): Uint8Array {
  const algorithms = symmetric.flatMap(({ kdf, aead }) => [u16(kdf), u16(aead)]);
  return concat(Uint8Array.of(id), u16(kem), publicKey, u16(4 * symmetric.length), ...algorithms);
}

/**
 * Parses a list. One that is wrong anywhere is refused as a whole, as section 3.2 demands: what can be saved of it
 * would tell clients apart. Configurations of a KEM that is not known are left out. Nothing here is authenticated.
 */
export function parseKeyConfigs(encoded: Uint8Array): readonly KeyConfig[] {
  const reader = new ByteReader(encoded, 'key configurations');
  const configs: KeyConfig[] = [];
  for (let count = 0; reader.remaining > 0; count++) {
    if (count === MAX_CONFIGS) throw malformed(`more than ${MAX_CONFIGS} stand there`);
    const config = parseKeyConfig(reader.take(reader.u16be()));
    if (config) configs.push(config);
  }
  return configs;
}

/** One configuration without a length before it; undefined where its KEM is not known. */
export function parseKeyConfig(encoded: Uint8Array): KeyConfig | undefined {
  const reader = new ByteReader(encoded, 'key configuration');
  const id = reader.u8();
  const kem = reader.u16be();
  const length = PUBLIC_KEY_BYTES.get(kem);
  if (length === undefined) return undefined;
  const publicKey = reader.take(length);
  const algorithms = reader.u16be();
  if (algorithms === 0 || algorithms % 4 !== 0 || algorithms !== reader.remaining) {
    throw malformed(`${algorithms} bytes of algorithms, ${reader.remaining} left`);
  }
  const symmetric: Symmetric[] = [];
  while (reader.remaining > 0) symmetric.push({ kdf: reader.u16be(), aead: reader.u16be() });
  return { id, kem, publicKey, symmetric };
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `key configurations: ${detail}`);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
