import { concat } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';

/**
 * Encrypted bodies are frames: a 4-byte big-endian length and that much ciphertext (EHBP section 4.3). What our profile
 * seals in a frame is padded: a flag byte, the 4-byte big-endian length of the content, the content, and zeros up to a
 * multiple of 256 bytes, so that the carrier sees the length of a token only as "one block". The flag says whether the
 * frame is the last: a cut is seen.
 */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;
/** Plaintext of a padded frame is a multiple of this. */
export const PADDING_BLOCK = 256;
/** Most frames of one request: each costs its reader a decryption. */
export const MAX_REQUEST_FRAMES = 4096;

const FLAG = { more: 0, final: 1 } as const;
const HEAD_BYTES = 5;

/** One frame of a body. */
export function frame(ciphertext: Uint8Array): Uint8Array {
  const framed = new Uint8Array(4 + ciphertext.length);
  new DataView(framed.buffer).setUint32(0, ciphertext.length);
  framed.set(ciphertext, 4);
  return framed;
}

/**
 * The ciphertexts of a whole body, in order. EHBP has its readers pass over frames of length zero; there are none among
 * what is returned.
 */
export function parseFrames(body: Uint8Array, most = MAX_REQUEST_FRAMES): readonly Uint8Array[] {
  const reader = new ByteReader(body, 'sealed body');
  const frames: Uint8Array[] = [];
  for (let count = 1; reader.remaining > 0; count++) {
    if (count > most) throw new Refusal('MALFORMED', `a sealed body has more than ${most} frames`);
    const length = reader.u32be();
    if (length > MAX_FRAME_BYTES) throw new Refusal('MALFORMED', 'a sealed frame is too large');
    if (length > 0) frames.push(reader.take(length));
  }
  return frames;
}

/** What a frame of our profile seals. */
export interface FrameContent {
  readonly content: Uint8Array;
  readonly final: boolean;
}

export function padFrame({ content, final }: FrameContent): Uint8Array {
  const length = HEAD_BYTES + content.length;
  const padded = new Uint8Array(Math.ceil(length / PADDING_BLOCK) * PADDING_BLOCK);
  padded[0] = final ? FLAG.final : FLAG.more;
  new DataView(padded.buffer).setUint32(1, content.length);
  padded.set(content, HEAD_BYTES);
  return padded;
}

/** Refuses all that `padFrame` does not write: another flag, a length beyond the frame, more padding than it takes, bytes in it. */
export function unpadFrame(plaintext: Uint8Array): FrameContent {
  if (plaintext.length === 0 || plaintext.length % PADDING_BLOCK !== 0) {
    throw new Refusal(
      'MALFORMED',
      `a sealed frame of ${plaintext.length} bytes is not padded to ${PADDING_BLOCK}`,
    );
  }
  const reader = new ByteReader(plaintext, 'sealed frame');
  const flag = reader.u8();
  if (flag !== FLAG.more && flag !== FLAG.final) {
    throw new Refusal('MALFORMED', 'a sealed frame has no flag');
  }
  const content = reader.take(reader.u32be());
  if (reader.remaining >= PADDING_BLOCK) throw new Refusal('MALFORMED', 'a sealed frame is padded too much');
  const rest = reader.take(reader.remaining);
  if (rest.some((byte) => byte !== 0)) {
    throw new Refusal('MALFORMED', 'the padding of a sealed frame is not zero');
  }
  return { content, final: flag === FLAG.final };
}

/** The contents of a whole body: the last frame is final, and no other. */
export function joinContents(frames: readonly FrameContent[]): Uint8Array {
  const last = frames.at(-1);
  if (last?.final !== true) throw new Refusal('MALFORMED', 'the sealed body is cut short');
  if (frames.slice(0, -1).some(({ final }) => final)) {
    throw new Refusal('MALFORMED', 'a sealed frame follows the final one');
  }
  return frames.length === 1 ? last.content : concat(...frames.map(({ content }) => content));
}
