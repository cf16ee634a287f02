import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { fetchAttestation, freshNonce } from '../../client/attestation.ts';
import { serviceAt } from '../../client/http.ts';
import { deviceFacts } from './deviceFacts.ts';
import { reportOf } from './facts.ts';
import { failureOf, PageFailure } from './failure.ts';
import { judgeAnswer, judgeFiles, type Judged } from './judge.ts';
import type { Answer, Request } from './protocol.ts';

// The verifier, away from the page: nothing that is judged can hold up or touch what is shown.

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  void answer(data);
});

async function answer(request: Request): Promise<void> {
  const { id } = request;
  try {
    const judged = await judge(request);
    say({ id, type: 'report', report: reportOf(judged, portableCrypto) });
    say({ id, type: 'devices', devices: await deviceFacts(judged.devices) });
  } catch (error) {
    say({ id, type: 'failure', failure: failureOf(error) });
  }
}

function say(message: Answer): void {
  postMessage(message);
}

/** A service is asked only where the reader named one: this is the one place that reaches a network. */
async function judge(request: Request): Promise<Judged> {
  const { subject } = request;
  if (!('service' in subject)) return judgeFiles(request, portableCrypto);
  const service = serviceOf(subject.service);
  const nonce = freshNonce();
  const attestation = await fetchAttestation(service, nonce);
  return judgeAnswer(service.base, attestation, nonce, request, portableCrypto);
}

function serviceOf(address: string) {
  try {
    return serviceAt(address, (url, init) => fetch(url, { ...init, credentials: 'omit' }), undefined);
  } catch (error) {
    if (error instanceof TypeError) throw new PageFailure('INPUT_INVALID', error.message);
    throw error;
  }
}
