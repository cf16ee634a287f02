import { documentForPublicKey } from '../../collect/nsm/way.ts';
import { askAzure } from './azure.ts';
import { azureTokens } from './azureToken.ts';
import { askKms } from './awsKms.ts';
import { ReleaseError } from './errors.ts';
import type { KeyService } from './exchange.ts';
import type { AwsCredentials } from './signatureV4.ts';
import type { TrusteeOptions } from './trustee.ts';
import { askNode, type Attester, type WantedKey } from './vouchsafe.ts';

/** A sealed model as whoever releases its key has to know it. */
export interface SealedModel {
  readonly id: string;
  readonly sealed?:
    | { readonly key: { readonly holder: string; readonly name: string; readonly wrapped: Uint8Array } }
    | undefined;
}

export interface DataKeyOptions {
  /** Who releases data keys to this instance. */
  readonly from: 'none' | 'vouchsafe' | 'trustee' | 'aws-kms' | 'azure';
  readonly address?: string | undefined;
  readonly apiKey?: string | undefined;
  /** Region of AWS that requests are signed for, and by what. */
  readonly region?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  readonly sessionToken?: string | undefined;
  readonly attester: Attester;
  /** Unwraps a data key. Throws where it was not wrapped by this key under this name. */
  readonly unwrap: (wrapping: Uint8Array, keyName: string, wrapped: Uint8Array) => Uint8Array;
  /** How this machine attests to Trustee; undefined where it cannot. */
  readonly trustee?: Pick<TrusteeOptions, 'tee' | 'attest'> | undefined;
  /** Who fetches tokens of Azure Attestation, and the provider that makes them. */
  readonly attestationAddress?: string | undefined;
  readonly attestationAuthority?: string | undefined;
  /** A document of the Nitro hypervisor for a public key; that of `/dev/nsm` where it is left out. */
  readonly nitroDocument?: ((publicKey: Uint8Array) => Promise<Uint8Array>) | undefined;
  readonly now: () => number;
}

/**
 * The function by which models get their data keys. The header of a sealed model lies on a disk that anybody may write,
 * so it chooses nothing: who is asked, and where, is the configuration's to say.
 */
export function dataKeySource(options: DataKeyOptions): (model: SealedModel) => Promise<Uint8Array> {
  return async ({ id, sealed }) => {
    const { from, address, apiKey } = options;
    if (!sealed) throw new ReleaseError('REFUSED', 'the model is not sealed');
    const { holder, name: keyName, wrapped } = sealed.key;
    if (from === 'none' || address === undefined) {
      throw new ReleaseError('UNREACHABLE', 'the configuration names nobody who releases data keys');
    }
    if (holder !== from) {
      throw new ReleaseError(
        'REFUSED',
        `the model is sealed for ${holder}, and the configuration names ${from}`,
      );
    }
    return ASK[from](options, { address, apiKey }, { model: id, keyName, wrapped });
  };
}

type Ask = (options: DataKeyOptions, service: KeyService, wanted: WantedKey) => Promise<Uint8Array>;

/** The libraries of Trustee and of AWS take memory: they are loaded where they are needed. */
const ASK: Readonly<Record<Exclude<DataKeyOptions['from'], 'none'>, Ask>> = {
  vouchsafe: ({ attester }, service, wanted) => askNode(service, attester, wanted),
  trustee: async (options, service, wanted) => {
    const { trustee } = options;
    if (!trustee) throw cannotAttest('Trustee');
    const { askTrustee } = await import('./trustee.ts');
    return unwrapWith(options, await askTrustee({ service, ...trustee }, wanted.keyName), wanted);
  },
  'aws-kms': async (options, service, wanted) => {
    const { region, now, nitroDocument = documentForPublicKey } = options;
    const credentials = credentialsOf(options);
    if (region === undefined || !credentials) {
      throw new ReleaseError('REFUSED', 'the configuration has no region or no credentials for AWS');
    }
    const { kmsOverHttp } = await import('./kmsHttp.ts');
    const decrypt = kmsOverHttp({ service, region, credentials: () => Promise.resolve(credentials), now });
    return askKms({ decrypt, attest: (publicKey) => nitroDocument(publicKey) }, wanted);
  },
  azure: async (options, service, wanted) => {
    const { attestationAddress: address, attestationAuthority: authority } = options;
    if (address === undefined || authority === undefined) throw cannotAttest('Azure');
    const attest = azureTokens({ address, authority });
    const released = await askAzure({ service, attest }, wanted.keyName, wanted.wrapped);
    return 'dataKey' in released ? released.dataKey : unwrapWith(options, released.wrapping, wanted);
  },
};

function credentialsOf(options: DataKeyOptions): AwsCredentials | undefined {
  const { accessKeyId, secretAccessKey, sessionToken } = options;
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken };
}

function unwrapWith(
  { unwrap }: DataKeyOptions,
  wrapping: Uint8Array,
  { keyName, wrapped }: WantedKey,
): Uint8Array {
  try {
    return unwrap(wrapping, keyName, wrapped);
  } finally {
    wrapping.fill(0);
  }
}

function cannotAttest(to: string): ReleaseError {
  return new ReleaseError('ATTESTATION_FAILED', `this machine has no way to attest to ${to}`);
}
