import { createHash, timingSafeEqual } from 'node:crypto';
import { type Config, isLoopback, keysRequired } from '../config/schema.ts';
import { ServiceError } from './errors.ts';
import type { Headed } from './request.ts';

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;

/** What a key is for. Tenants ask and read what is theirs, auditors read all, admins change the service. */
export type Role = 'tenant' | 'auditor' | 'admin';

/** Who asks. */
export interface Asker {
  readonly role: Role;
  /** Name of the key; undefined for a tenant where no key is needed. */
  readonly name: string | undefined;
}

/** The admin key has no name of its own. */
const ADMIN = { role: 'admin', name: 'admin' } as const;

interface KnownKey {
  readonly digest: Buffer;
  readonly asker: Asker;
}

/** Who may ask. Keys are known by their SHA-256 only. */
export class Gate {
  readonly #required: boolean;
  readonly #keys: readonly KnownKey[];
  readonly #openMetrics: boolean;

  constructor(config: Config) {
    const { apiKeys, auditorKeys, adminKeySha256 } = config.keys;
    this.#required = keysRequired(config);
    const known = (sha256: string, asker: Asker): KnownKey => ({ digest: Buffer.from(sha256, 'hex'), asker });
    this.#keys = [
      ...apiKeys.map(({ name, sha256 }) => known(sha256, { role: 'tenant', name })),
      ...auditorKeys.map(({ name, sha256 }) => known(sha256, { role: 'auditor', name })),
      ...(adminKeySha256 === undefined ? [] : [known(adminKeySha256, ADMIN)]),
    ];
    this.#openMetrics = adminKeySha256 === undefined && isLoopback(config.server.host);
  }

  /** Name of the key that asks; undefined where none is needed. Throws where one is missing or of another role. */
  tenantOf(request: Headed): string | undefined {
    if (!this.#required) return undefined;
    const asker = this.#requireKey(request);
    if (asker.role !== 'tenant') throw forbidden(`the key is of the role ${asker.role}, not of a tenant`);
    return asker.name;
  }

  /** Who asks. Where no key is needed, whoever has none of an auditor or admin is the nameless tenant. */
  roleOf(request: Headed): Asker {
    if (this.#required) return this.#requireKey(request);
    const asker = this.#find(request);
    return asker && asker.role !== 'tenant' ? asker : { role: 'tenant', name: undefined };
  }

  /** Throws unless the key of an auditor or admin asks, on loopback, too: what they read is everybody's. */
  requireAuditor(request: Headed): Asker {
    const asker = this.#find(request);
    if (!asker) throw new ServiceError('AUDITOR_KEY_REQUIRED', 'the key of an auditor is needed');
    if (asker.role === 'tenant') throw forbidden('the key is of a tenant, not of an auditor');
    return asker;
  }

  /** Throws unless the admin key asks. Without one, loopback is open. */
  requireAdmin(request: Headed): void {
    if (!this.#openMetrics) this.requireAdminKey(request);
  }

  /** Throws unless the admin key asks: without one nobody may, as any page in a browser reaches loopback. */
  requireAdminKey(request: Headed): Asker {
    const asker = this.#find(request);
    if (asker?.role !== 'admin') throw new ServiceError('ADMIN_KEY_REQUIRED', 'the admin key is needed');
    return asker;
  }

  /** As `requireAdminKey`, and tells a known key of another role that it is of one. */
  requireAdminRole(request: Headed): Asker {
    const asker = this.#find(request);
    if (asker && asker.role !== 'admin')
      throw forbidden(`the key is of the role ${asker.role}, not of an admin`);
    return this.requireAdminKey(request);
  }

  #requireKey(request: Headed): Asker {
    if (!keyDigest(request)) throw new ServiceError('API_KEY_MISSING', 'the request has no API key');
    const asker = this.#find(request);
    if (!asker) throw new ServiceError('API_KEY_INVALID', 'the API key is not known');
    return asker;
  }

  #find(request: Headed): Asker | undefined {
    const digest = keyDigest(request);
    let found: Asker | undefined;
    if (!digest) return found;
    // All keys are compared, so that the time says nothing of which one is near.
    for (const key of this.#keys) if (timingSafeEqual(key.digest, digest)) found = key.asker;
    return found;
  }
}

function forbidden(message: string): ServiceError {
  return new ServiceError('ROLE_FORBIDDEN', message);
}

function keyDigest({ headers }: Headed): Buffer | undefined {
  const key = BEARER.exec(headers.authorization ?? '')?.[1];
  return key === undefined ? undefined : createHash('sha256').update(key).digest();
}
