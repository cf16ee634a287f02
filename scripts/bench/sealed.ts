import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import autocannon from 'autocannon';
import { fromBase64Url, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { EHBP } from '../../attestation/channel/ehbp.ts';
import { frame } from '../../attestation/channel/frames.ts';
import { encodeBinaryRequest } from '../../attestation/channel/ohttp/bhttp.ts';
import { CHUNKED_REQUEST_TYPE, sealChunked } from '../../attestation/channel/ohttp/chunked.ts';
import {
  chooseKey,
  GATEWAY_PATH,
  type GatewayKey,
  keyConfigOf,
} from '../../attestation/channel/ohttp/keyConfig.ts';
import { ENCAPSULATED_KEY_HEADER, SEALED_CONTENT_TYPE, sealRequest } from '../../attestation/channel/hpke.ts';
import { encodeSealedRequest } from '../../attestation/channel/sealed.ts';
import { chooseSuite, senderSuite, type WantedSuite } from '../../attestation/channel/suites.ts';
import { parseKeyset, type HpkeKey } from '../../attestation/keyset.ts';
import { figure, goal, type Figure } from './figure.ts';
import { embeddingBodies, median, type Load } from './measure.ts';
import { startService, type RunningService } from './service.ts';

const CONCURRENCY = 32;
/** Requests of one connection in a round: each is sealed before the round, since each is taken once. Sealing X-Wing takes the longest. */
const EACH: Readonly<Record<Form, number>> = { plain: 120, EHBP: 120, profile: 120, OHTTP: 120, hybrid: 15 };
const PATH = '/v1/embeddings';
const JSON_TYPE = 'application/json';
const LOADS: readonly Load[] = ['passages', 'mixture', 'short'];
const FORMS = ['plain', 'EHBP', 'profile', 'OHTTP', 'hybrid'] as const;
type Form = (typeof FORMS)[number];

type Request = autocannon.Request;

/** Throughput of encrypted embeddings against plain ones, on the same service in turn. */
export async function sealedFigures(rounds: number, say: (text: string) => void): Promise<readonly Figure[]> {
  const service = await startService();
  try {
    const keys = await keysOf(service);
    const figures: Figure[] = [];
    for (const load of LOADS) {
      await round(service, keys, load, 'plain');
      const rates = new Map<Form, number[]>(FORMS.map((form) => [form, []]));
      for (let i = 0; i < rounds; i++) {
        for (const form of i % 2 === 0 ? FORMS : FORMS.toReversed()) {
          rates.get(form)?.push(await round(service, keys, load, form));
        }
        say(
          `${load} ${i + 1}: ${FORMS.map((form) => `${form} ${rates.get(form)?.at(-1)?.toFixed(0) ?? ''}`).join(', ')}`,
        );
      }
      figures.push(...figuresOf(load, rates));
    }
    return figures;
  } finally {
    await service.stop();
  }
}

function figuresOf(load: Load, rates: ReadonlyMap<Form, readonly number[]>): readonly Figure[] {
  const plain = rates.get('plain') ?? [];
  return FORMS.flatMap((form): readonly Figure[] => {
    const own = rates.get(form) ?? [];
    const rate = figure(`${load}: ${form}`, median(own), 'requests/s');
    if (form === 'plain') return [rate];
    const ratio = median(own.map((value, i) => value / (plain[i] ?? 0)));
    const name = `${load}: ${form} against plain`;
    if (form === 'hybrid' || form === 'OHTTP') return [rate, figure(name, ratio, '')];
    return [rate, goal(name, ratio, '', 'at least 0.85', (value) => value >= 0.85)];
  });
}

type Keys = Readonly<Record<Exclude<WantedSuite, 'auto'>, HpkeKey>> & { readonly gateway: GatewayKey };

/** The keys as the service says them: nothing that is sealed to them here is worth evidence. */
async function keysOf({ url }: RunningService): Promise<Keys> {
  const answer = (await (await fetch(`${url}/v1/keyset`)).json()) as { readonly keyset: string };
  const keyset = parseKeyset(fromBase64Url(answer.keyset));
  const gateway = chooseKey([keyConfigOf(keyset)]);
  return { x25519: chooseSuite(keyset, 'x25519'), hybrid: chooseSuite(keyset, 'hybrid'), gateway };
}

/** Requests per second of one round; sealing is done before. */
async function round({ url }: RunningService, keys: Keys, load: Load, form: Form): Promise<number> {
  const bodies = embeddingBodies(load).map((body) => utf8(body));
  const requests: Request[][] = [];
  for (let connection = 0; connection < CONCURRENCY; connection++) {
    const own: Request[] = [];
    for (let i = 0; i < EACH[form]; i++) {
      own.push(await requestOf(keys, form, bodies[(connection + i) % bodies.length] ?? utf8('')));
    }
    requests.push(own);
  }
  collectGarbage();
  const started = performance.now();
  let last = started;
  const result = await autocannon({
    url,
    connections: CONCURRENCY,
    amount: CONCURRENCY * EACH[form],
    // Each connection has requests of its own.
    setupClient: (client) => {
      client.setRequests(requests.pop() ?? []);
      // Autocannon itself ends with a whole second.
      client.on('response', () => {
        last = performance.now();
      });
    },
  });
  if (result.errors + result.non2xx > 0) throw new Error(`${result.errors + result.non2xx} requests failed`);
  return (1000 * CONCURRENCY * EACH[form]) / (last - started);
}

/** What sealing leaves behind is not to be collected while the service is measured. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

async function requestOf(keys: Keys, form: Form, body: Uint8Array): Promise<Request> {
  const base = { method: 'POST', path: PATH } as const;
  if (form === 'plain') return { ...base, headers: { 'content-type': JSON_TYPE }, body: Buffer.from(body) };
  if (form === 'OHTTP') return obliviousRequest(keys.gateway, body);
  const sealed = form === 'EHBP' ? await sealEhbp(keys.x25519, body) : await sealOurs(keys, form, body);
  const type = form === 'EHBP' ? JSON_TYPE : SEALED_CONTENT_TYPE;
  const headers = { 'content-type': type, [ENCAPSULATED_KEY_HEADER]: toHex(sealed.enc) };
  return { ...base, headers, body: Buffer.from(sealed.body) };
}

/** Chunked Oblivious HTTP, straight to the gateway. */
async function obliviousRequest(key: GatewayKey, content: Uint8Array): Promise<Request> {
  const headers = [['content-type', JSON_TYPE]] as const;
  const control = { method: 'POST', scheme: 'http', authority: '', path: PATH };
  const inner = encodeBinaryRequest({ ...control, headers, content, trailers: [] });
  const { body } = await sealChunked(key, inner);
  const type = { 'content-type': CHUNKED_REQUEST_TYPE };
  return { method: 'POST', path: GATEWAY_PATH, headers: type, body: Buffer.from(body) };
}

interface Sealed {
  readonly enc: Uint8Array;
  readonly body: Uint8Array;
}

async function sealOurs(keys: Keys, form: Form, body: Uint8Array): Promise<Sealed> {
  const nonce = new Uint8Array(32).fill(1);
  const inner = encodeSealedRequest({ nonce, method: 'POST', path: PATH, contentType: JSON_TYPE, body });
  return sealRequest(form === 'hybrid' ? keys.hybrid : keys.x25519, inner);
}

async function sealEhbp(key: HpkeKey, body: Uint8Array): Promise<Sealed> {
  const suite = await senderSuite(key);
  const recipientPublicKey = await suite.kem.deserializePublicKey(key.publicKey);
  const context = await suite.createSenderContext({ recipientPublicKey, info: EHBP.info });
  return { enc: new Uint8Array(context.enc), body: frame(new Uint8Array(await context.seal(body))) };
}
