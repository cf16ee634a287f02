import { beforeAll, describe, expect, test } from '@jest/globals';
import { toBase64, utf8 } from '../../../attestation/bytes/bytes.ts';
import { EXIT } from '../../../src/cli/exit.ts';
import { recognise } from '../../../attestation/recognition/recognise.ts';
import { unfit } from '../../../src/cli/verifyUnfit.ts';
import { mintSamples, type Sample } from './inspectSamples.ts';

/** Milliseconds: RSA keys on a busy machine. */
const MINTING_TIMEOUT = 120_000;
const JUDGED = ['disclosure', 'bundle', 'receipt', 'attestation', 'document'];

let samples: readonly Sample[];
beforeAll(async () => {
  samples = await mintSamples();
}, MINTING_TIMEOUT);

const ofKind = (kind: string): Uint8Array => {
  const found = samples.find((sample) => sample.kind === kind);
  if (!found) throw new Error(`no sample is a ${kind}`);
  return found.bytes;
};

describe('what `verify` says of a file that it does not judge alone', () => {
  test('every kind of file but ours is named, with what to do', () => {
    for (const { kind, bytes, name } of samples) {
      const error = unfit('FILE', bytes);
      const { encoding, name: what } = recognise(bytes);
      if (JUDGED.includes(kind) && encoding === undefined) expect([name, error]).toEqual([name, undefined]);
      else {
        expect([name, error?.exit]).toEqual([name, EXIT.misuse]);
        expect(error?.message).toContain(what);
        expect(error?.advice).toBeDefined();
      }
    }
  });

  test.each([
    ['tdx-quote', '`vouchsafe inspect`'],
    ['snp-report', 'An evidence document binds it'],
    ['tcb-info', '--collateral'],
    ['crl', '--collateral'],
    ['nras-answer', '`vouchsafe verify-token`'],
    ['policy', '--policy'],
  ])('%s: %s', (kind, advice) => {
    expect(unfit('FILE', ofKind(kind))?.advice).toContain(advice);
  });

  test('a document that is written as text is to be decoded', () => {
    const error = unfit('FILE', utf8(toBase64(ofKind('document'))));
    expect([error?.exit, error?.message]).toEqual([
      EXIT.misuse,
      'FILE is written as base64: evidence document',
    ]);
  });

  test('a damaged bundle is judged, and so refused', () => {
    const bundle = ofKind('bundle');
    expect(unfit('FILE', bundle.subarray(0, bundle.length >> 1))).toBeUndefined();
  });

  test.each([
    ['', 'it is empty'],
    ['hello\nyou', '9 bytes that begin with «hello you»'],
    ['\u0001\u0002', '2 bytes that begin with 0102'],
    ['x', 'one byte, 78'],
    ['[1]', 'a JSON array of 1 value'],
    ['{"some": 1}', 'a JSON object of some'],
  ])('«%s» is unknown: %s', (text, reason) => {
    const error = unfit('FILE', utf8(text));
    expect(error?.exit).toBe(EXIT.unreadable);
    expect(error?.message).toContain(reason);
  });
});
