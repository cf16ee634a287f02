import { FORMAT, HASH, type Method, type Methods, OURS, ruled } from './method.ts';

const TOKEN_TRUSTS = 'the key set of the attestation service';
const token = (states: string, other: string): Method => ({
  reads: ['input'],
  compares: [states, other],
  trusts: TOKEN_TRUSTS,
});

/** Checks of the word of NVIDIA's attestation service. */
export const TOKENS: Methods = {
  'token.format': { ...token('the answer', 'the layout of the service'), trusts: FORMAT },
  'token.signature': token('the signature of each token', 'the key that it names'),
  'token.time': token('the dates of each token', 'the judged time'),
  'token.nonce': token('the nonce of each token', 'the nonce that you sent'),
  'token.submodules': token('the digests in the overall token', 'SHA-256 of each token of a device'),
  'token.result': token('the result of each device', 'success'),
  'token.devices': token('devices and claims of the tokens', 'the devices that were sent, and your policy'),
};

/** Checks of a receipt and its bundle. */
export const RECEIPT: Methods = {
  'bundle.format': {
    reads: ['input'],
    compares: ['the bytes of the bundle', 'their one deterministic encoding, with known members only'],
    trusts: FORMAT,
  },
  'receipt.format': {
    reads: ['receipt'],
    compares: ['the bytes of the receipt', 'their one deterministic encoding, with known claims only'],
    trusts: FORMAT,
  },
  'receipt.evidence': {
    of: 'cited',
    reads: ['receipt', 'document'],
    compares: ['the evidence digest in the receipt', 'SHA-256 of the document'],
    trusts: HASH,
  },
  'receipt.keyset': {
    of: 'cited',
    reads: ['receipt', 'keyset'],
    compares: ['the keyset digest in the receipt', 'the keyset digest of the document'],
    trusts: HASH,
  },
  'receipt.time': {
    of: 'cited',
    reads: ['receipt', 'keyset'],
    compares: [
      'the second that the receipt claims',
      'not_after of the keyset, and the times that outsiders vouch for',
    ],
    trusts: OURS,
  },
  'receipt.signature': {
    of: 'cited',
    reads: ['receipt', 'keyset'],
    compares: ['the signature of the receipt', 'its Sig_structure, under the receipt key of the keyset'],
    trusts: 'the keyset that the hardware vouches for',
  },
  'receipt.devices': {
    of: 'cited',
    reads: ['receipt', 'devices'],
    compares: ['serials and execution providers in the receipt', 'the devices of the document'],
    trusts: 'the evidence that the receipt cites',
  },
  'receipt.model': ruled('receipt', 'the digest of the model', 'the models of the policy'),
  'receipt.outcome': ruled('receipt', 'how the answer ended', 'the outcomes that the policy accepts'),
  'receipt.channel': ruled('receipt', 'the channel of the answer', 'the channels that the policy accepts'),
  'receipt.nonce': content('the nonce in the receipt', 'the nonce of your request'),
  'receipt.request': content(
    'the commitment to the request',
    'the commitment that your request and key give',
  ),
  'receipt.response': content(
    'the commitment to the response',
    'the commitment that your response and key give',
  ),
  'receipt.tenant': content('the commitment to the tenant', 'the commitment that the name and key give'),
};

function content(states: string, given: string): Method {
  return { reads: ['receipt'], compares: [states, given], trusts: OURS };
}

/** Checks of the log and of those who watch it. */
export const LOG: Methods = {
  'log.cited': {
    of: 'cited',
    reads: ['receipt', 'statement'],
    compares: ['the log index in the receipt', 'the log size in the cited statement'],
    trusts: 'the cited evidence',
  },
  'log.checkpoint': {
    of: 'covering',
    reads: ['checkpoint', 'keyset'],
    compares: [
      'origin, size, root and signature of the checkpoint',
      'origin and log key of the keyset, size and root of the covering statement',
    ],
    trusts: 'the keyset that the hardware vouches for',
  },
  'log.covering': {
    reads: ['document'],
    compares: ['instance, log, keys and hardware of the covering document', 'those of the cited document'],
    trusts: 'both documents',
  },
  'log.inclusion': {
    of: 'covering',
    reads: ['receipt', 'checkpoint'],
    compares: ['the RFC 9162 root that the receipt and its path give', 'the root of the covering statement'],
    trusts: HASH,
  },
  'log.consistency': {
    reads: ['statement', 'checkpoint'],
    compares: ['the root of the cited tree, grown by the proof', 'the root of the covering tree'],
    trusts: HASH,
  },
  'log.covered': {
    reads: ['receipt', 'statement'],
    compares: ['the log index of the receipt', 'the log sizes of both documents'],
    trusts: 'both documents',
  },
  'log.witnesses': {
    reads: ['anchored'],
    compares: ['cosignatures on a checkpoint over the receipt', 'the keys and quorum of the policy'],
    trusts: 'witnesses that you name',
  },
  'log.timestamp': {
    reads: ['anchored'],
    compares: ['a token over a checkpoint that holds the receipt', 'timestamp authorities of the policy'],
    trusts: 'timestamp authorities that you name',
    anchors: ['timestamp'],
  },
  'log.upper': {
    reads: ['anchored'],
    compares: [
      'the earliest verified time over a tree that holds the receipt',
      'the time that the caller gave',
    ],
    trusts: 'whoever gave that time, whom you name',
  },
};

const opened = (item: string): Method => ({
  reads: ['receipt', 'input'],
  compares: [`the commitment to ${item} in the receipt`, `the commitment that the opened ${item} gives`],
  trusts: 'the signature of the receipt',
});

/** Checks of what somebody opened of a receipt. */
export const DISCLOSURE: Methods = {
  'disclosure.format': {
    reads: ['input'],
    compares: ['the bytes of the disclosure', 'their one deterministic encoding, with known members only'],
    trusts: FORMAT,
  },
  'disclosure.request': opened('the request'),
  'disclosure.response': opened('the response'),
  'disclosure.chunks': opened('each chunk, at its place'),
  'disclosure.parameter': opened('the parameter'),
  'disclosure.tenant': opened('the tenant'),
};
