import { encodeKeyConfig, KEY_CONFIG_TYPE } from '../../../attestation/channel/ehbp.ts';
import type { Action } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { Service } from '../service.ts';

/**
 * `GET /.well-known/hpke-keys`: the X25519 key of the keyset in use, as clients of EHBP fetch it. Whoever answers here
 * may answer with a key of its own: only a key from verified evidence says who reads what is sealed to it.
 */
export function hpkeKeys({ vouching }: Service): Action {
  return () => {
    const [key] = vouching.keyset.hpke;
    if (!key) throw new ServiceError('NOT_VOUCHING', 'the keyset has no HPKE key');
    const headers = { 'cache-control': 'no-store' };
    return { status: 200, contentType: KEY_CONFIG_TYPE, headers, body: encodeKeyConfig(key) };
  };
}
