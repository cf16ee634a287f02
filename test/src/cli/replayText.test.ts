import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import type { ReceiptClaims } from '../../../attestation/receipt/claims.ts';
import { printReplay } from '../../../src/cli/replayText.ts';
import { Terminal } from '../../../src/cli/terminal.ts';
import type { Replay } from '../../../src/replay/replay.ts';

const CLAIMS = {
  id: new Uint8Array(16),
  manifestDigest: new Uint8Array(32),
  time: 0,
  model: 'm',
  path: '/v1/completions',
  method: 'POST',
  outcome: 'complete',
  parameters: new Map(),
  usage: new Map(),
  providers: [],
} as unknown as ReceiptClaims;
const EQUAL: Replay = {
  equal: true,
  model: { equal: true, recorded: '00', loaded: '00', differences: undefined },
  answerEqual: true,
  bytes: 3,
  differences: [],
  differenceCount: 0,
  seed: undefined,
  sharedRun: undefined,
};

function printed(result: Replay): string {
  const parts: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      parts.push(chunk.toString());
      done();
    },
  });
  printReplay(new Terminal(stream as unknown as NodeJS.WriteStream, {}), 'answer', CLAIMS, result);
  return parts.join('');
}

test('a run that was shared is told', () => {
  expect(printed(EQUAL)).not.toContain('shared run');
  const told = printed({ ...EQUAL, sharedRun: { rows: 6, own: 2 } });
  expect(told).toContain('made in a shared run: 2 of 6 rows');
});

const ESCAPE = '\u001b';

test('names of members cannot repaint the terminal', () => {
  const difference = { where: '\u001b[2K\u202e EQUAL', recorded: '1', replayed: '2' };
  const told = printed({
    ...EQUAL,
    equal: false,
    answerEqual: false,
    differences: [difference],
    differenceCount: 1,
  });
  expect(told).toContain('\ufffd[2K\ufffd EQUAL');
  // Colours are our own.
  const plain = told.replaceAll(new RegExp(`${ESCAPE}\\[\\d+m`, 'g'), '');
  for (const character of [ESCAPE, '\u202e']) expect(plain).not.toContain(character);
});
