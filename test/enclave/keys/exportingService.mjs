// A service whose private keys a test knows: what makes them is wrapped before the service is loaded.
import { Buffer } from 'node:buffer';
import crypto, { KeyObject } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { XWing } from '@hpke/hybridkem-x-wing';

const tell = (kind, bytes) => process.send({ key: kind, bytes: Buffer.from(bytes).toString('hex') });
const tellKey = (key) => {
  const jwk = key.export({ format: 'jwk' });
  tell(`${jwk.kty} ${jwk.crv} scalar`, Buffer.from(jwk.d, 'base64url'));
  tell(`${jwk.kty} ${jwk.crv} PKCS#8`, key.export({ type: 'pkcs8', format: 'der' }));
};

const { generateKeyPairSync } = crypto;
crypto.generateKeyPairSync = (...options) => {
  const pair = generateKeyPairSync(...options);
  tellKey(pair.privateKey);
  return pair;
};
syncBuiltinESMExports();

const { subtle } = crypto.webcrypto;
const { generateKey } = subtle;
Object.getPrototypeOf(subtle).generateKey = async (...options) => {
  const made = await generateKey.call(subtle, ...options);
  if (made.privateKey) tellKey(KeyObject.from(made.privateKey));
  return made;
};

for (const [kind, Kem] of [
  ['HPKE scalar', DhkemX25519HkdfSha256],
  ['HPKE X-Wing seed', XWing],
]) {
  const { generateKeyPair: generate } = Kem.prototype;
  Kem.prototype.generateKeyPair = async function make() {
    const pair = await generate.call(this);
    tell(kind, pair.privateKey.key);
    return pair;
  };
}

const [main, load, settings] = process.argv.slice(2);
const { startService } = await import(main);
const { checkConfig } = await import(load);
const service = await startService(checkConfig(JSON.parse(settings)), { signs: [] });
process.on('message', () => {
  void service.stop().then(() => process.disconnect());
});
process.send({ url: service.url });
