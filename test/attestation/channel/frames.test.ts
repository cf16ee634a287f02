import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../attestation/bytes/bytes.ts';
import {
  frame,
  joinContents,
  MAX_REQUEST_FRAMES,
  padFrame,
  PADDING_BLOCK,
  parseFrames,
  unpadFrame,
} from '../../../attestation/channel/frames.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const content = fc.uint8Array({ maxLength: 700 });

function refused(attempt: () => unknown): boolean {
  try {
    attempt();
    return false;
  } catch (error) {
    if (error instanceof Refusal) return true;
    throw error;
  }
}

describe('a padded frame', () => {
  test(
    'is a multiple of the block, and says no more of its length',
    () => {
      fc.assert(
        fc.property(content, fc.boolean(), (bytes, final) => {
          const padded = padFrame({ content: bytes, final });
          expect(padded.length % PADDING_BLOCK).toBe(0);
          expect(padded.length - bytes.length).toBeLessThan(PADDING_BLOCK + 5);
          const read = unpadFrame(padded);
          expect(Buffer.from(read.content).equals(bytes)).toBe(true);
          expect(read.final).toBe(final);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'has one form: any bytes are refused or are what would be written',
    () => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 3 * PADDING_BLOCK }),
        fc.tuple(content, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([inside, at, bit]) => {
          const padded = padFrame({ content: inside, final: true });
          const place = at % padded.length;
          padded[place]! ^= bit;
          return padded;
        }),
      );
      fc.assert(
        fc.property(bytes, (any) => {
          let read;
          try {
            read = unpadFrame(any);
          } catch (error) {
            if (error instanceof Refusal) return;
            throw error;
          }
          expect(Buffer.from(padFrame(read)).equals(any)).toBe(true);
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('padding-not-zero, block-too-many, length-beyond, unknown flag, nothing: refused', () => {
    const good = padFrame({ content: Buffer.from('hello'), final: true });
    const change = (at: number, value: number) => good.map((byte, i) => (i === at ? value : byte));
    for (const bad of [
      change(255, 1),
      change(0, 2),
      change(3, 2),
      concat(good, new Uint8Array(PADDING_BLOCK)),
      good.subarray(0, 255),
      new Uint8Array(0),
    ]) {
      expect(refused(() => unpadFrame(bad))).toBe(true);
    }
  });
});

describe('a body of frames', () => {
  test(
    'is read as it was framed, wherever empty frames lie; cut or continued it is refused',
    () => {
      const parts = fc.array(content, { maxLength: 8 });
      fc.assert(
        fc.property(parts, fc.nat(), (frames, at) => {
          const body = concat(...frames.map(frame));
          const full = frames.filter(({ length }) => length > 0);
          expect(parseFrames(body).map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual(
            full.map((bytes) => Buffer.from(bytes).toString('hex')),
          );
          const cut = body.subarray(0, body.length === 0 ? 0 : at % body.length);
          if (!refused(() => parseFrames(cut)))
            expect(parseFrames(cut).length).toBeLessThanOrEqual(full.length);
          expect(refused(() => parseFrames(concat(body, Uint8Array.of(0, 0, 0))))).toBe(true);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('of any bytes is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        refused(() => parseFrames(bytes));
      }),
      propertyRuns(500),
    );
  });

  test('with more frames than a request may have is refused', () => {
    const most = new Uint8Array(4 * MAX_REQUEST_FRAMES);
    expect(parseFrames(most)).toEqual([]);
    expect(refused(() => parseFrames(concat(most, new Uint8Array(4))))).toBe(true);
  });

  test('ends in its final frame and has no other', () => {
    const [more, final] = [false, true].map((last) => ({ content: Uint8Array.of(1), final: last }));
    expect([...joinContents([more!, more!, final!])]).toEqual([1, 1, 1]);
    for (const bad of [[], [more!], [final!, more!], [final!, final!]]) {
      expect(refused(() => joinContents(bad))).toBe(true);
    }
  });
});
