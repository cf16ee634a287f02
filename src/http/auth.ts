import { createHash, timingSafeEqual } from 'node:crypto';
import { type Config, isLoopback, keysRequired } from '../config/schema.ts';
import { ServiceError } from './errors.ts';
import type { Headed } from './request.ts';

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;

/** Who may ask. Keys are known by their SHA-256 only. */
export class Gate {
  readonly #required: boolean;
  readonly #keys: readonly { readonly name: string; readonly digest: Buffer }[];
  readonly #admin: Buffer | undefined;
  readonly #openMetrics: boolean;

  constructor(config: Config) {
    const { apiKeys, adminKeySha256 } = config.keys;
    this.#required = keysRequired(config);
    this.#keys = apiKeys.map(({ name, sha256 }) => ({ name, digest: Buffer.from(sha256, 'hex') }));
    this.#admin = adminKeySha256 === undefined ? undefined : Buffer.from(adminKeySha256, 'hex');
    this.#openMetrics = this.#admin === undefined && isLoopback(config.server.host);
  }

  /** Name of the key that asks; undefined where none is needed. Throws where one is missing or unknown. */
  tenantOf(request: Headed): string | undefined {
    if (!this.#required) return undefined;
    const digest = keyDigest(request);
    if (!digest) throw new ServiceError('API_KEY_MISSING', 'the request has no API key');
    let tenant: string | undefined;
    // All keys are compared, so that the time says nothing of which one is near.
    for (const key of this.#keys) if (timingSafeEqual(key.digest, digest)) tenant = key.name;
    if (tenant === undefined) throw new ServiceError('API_KEY_INVALID', 'the API key is not known');
    return tenant;
  }

  /** Throws unless the admin key asks. Without one, loopback is open. */
  requireAdmin(request: Headed): void {
    if (!this.#openMetrics) this.requireAdminKey(request);
  }

  /** Throws unless the admin key asks: without one nobody may, as any page in a browser reaches loopback. */
  requireAdminKey(request: Headed): void {
    const digest = keyDigest(request);
    if (!this.#admin || !digest || !timingSafeEqual(this.#admin, digest)) {
      throw new ServiceError('ADMIN_KEY_REQUIRED', 'the admin key is needed');
    }
  }
}

function keyDigest({ headers }: Headed): Buffer | undefined {
  const key = BEARER.exec(headers.authorization ?? '')?.[1];
  return key === undefined ? undefined : createHash('sha256').update(key).digest();
}
