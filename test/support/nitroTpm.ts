import { concat, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import { MESSAGE_BUFFER, NSM_REQUEST } from '../../enclave/collect/aws/nsmRequest.ts';
import { CC, tpm2b, u16be, u32be } from '../../enclave/collect/tpm/command.ts';
import { NV } from '../../enclave/collect/tpm/nv.ts';
import { codeOf, response, type AtTheDoor } from './swtpm.ts';

/** A password session's part of a response. */
const AUTHORIZATION = Uint8Array.of(0, 0, 1, 0, 0);
/** TPM_RC_NV_DEFINED, TPM_RC_HANDLE for handle 1, TPM_RC_COMMAND_CODE. */
const RC = { defined: 0x14c, handle: 0x18b, unknownCommand: 0x143 } as const;
const PASSWORD_AREA_BYTES = 4 + 9;
const VENDOR_STRINGS: Readonly<Record<number, string>> = { 0x106: 'Nitr', 0x107: 'oTPM' };

export interface FakeNitroTpm {
  /** The message buffer while it is defined. */
  buffer: Uint8Array | undefined;
  attributes: number;
  size: number;
  /** Vendor strings are those of AWS. */
  isNitro: boolean;
  /** CBOR that answers a request in CBOR. */
  answer: (request: Uint8Array) => Promise<Uint8Array>;
  readonly atTheDoor: AtTheDoor;
}

/**
 * What NitroTPM has and swtpm has not: its vendor's name, an NV index of 8192 bytes, and the vendor command, which
 * replaces the request in that index by the answer. All else goes on to the TPM.
 */
export function fakeNitroTpm(answer: FakeNitroTpm['answer']): FakeNitroTpm {
  const fake: FakeNitroTpm = {
    buffer: undefined,
    attributes: 0,
    size: 0,
    isNitro: true,
    answer,
    atTheDoor: async (command, send) => (await answerCommand(fake, command)) ?? send(command),
  };
  return fake;
}

/** Undefined for commands that are not NitroTPM's own. */
async function answerCommand(fake: FakeNitroTpm, command: Uint8Array): Promise<Uint8Array | undefined> {
  const reader = new ByteReader(command, 'command');
  reader.take(10);
  switch (codeOf(command)) {
    case CC.getCapability:
      return vendorString(fake, reader);
    case CC.nvDefineSpace:
      return define(fake, reader);
    case CC.nvUndefineSpace:
      reader.take(4);
      if (reader.u32be() !== MESSAGE_BUFFER.index) return undefined;
      if (!fake.buffer) return response(RC.handle);
      fake.buffer = undefined;
      return authorized();
    case CC.nvReadPublic:
      return reader.u32be() === MESSAGE_BUFFER.index ? publicArea(fake) : undefined;
    case CC.nvRead:
      return access(fake, reader, (buffer) => {
        const size = reader.u16be();
        const offset = reader.u16be();
        return tpm2b(buffer.subarray(offset, offset + size));
      });
    case CC.nvWrite:
      return access(fake, reader, (buffer) => {
        const content = reader.take(reader.u16be());
        buffer.set(content, reader.u16be());
        fake.attributes |= NV.written;
        return new Uint8Array();
      });
    case NSM_REQUEST:
      return request(fake, reader);
    default:
      return undefined;
  }
}

function vendorString({ isNitro }: FakeNitroTpm, reader: ByteReader): Uint8Array | undefined {
  reader.take(4);
  const property = reader.u32be();
  if (property < 0x106 || property > 0x109 || !isNitro) return undefined;
  const value = concat(utf8(VENDOR_STRINGS[property] ?? ''), new Uint8Array(4)).subarray(0, 4);
  return response(0, concat(Uint8Array.of(0), u32be(6), u32be(1), u32be(property), value));
}

function define(fake: FakeNitroTpm, reader: ByteReader): Uint8Array | undefined {
  reader.take(4 + PASSWORD_AREA_BYTES);
  reader.take(reader.u16be());
  reader.u16be();
  if (reader.u32be() !== MESSAGE_BUFFER.index) return undefined;
  if (fake.buffer) return response(RC.defined);
  reader.u16be();
  fake.attributes = reader.u32be();
  reader.take(reader.u16be());
  fake.size = reader.u16be();
  fake.buffer = new Uint8Array(fake.size).fill(0xff);
  return authorized();
}

function publicArea({ buffer, attributes, size }: FakeNitroTpm): Uint8Array {
  if (!buffer) return response(RC.handle);
  const area = concat(u32be(MESSAGE_BUFFER.index), u16be(0x0b), u32be(attributes), u16be(0), u16be(size));
  return response(0, concat(tpm2b(area), tpm2b(new Uint8Array(34))));
}

function access(
  { buffer }: FakeNitroTpm,
  reader: ByteReader,
  use: (buffer: Uint8Array) => Uint8Array,
): Uint8Array | undefined {
  reader.take(4);
  if (reader.u32be() !== MESSAGE_BUFFER.index) return undefined;
  if (!buffer) return response(RC.handle);
  reader.take(PASSWORD_AREA_BYTES);
  return authorized(use(buffer));
}

async function request(fake: FakeNitroTpm, reader: ByteReader): Promise<Uint8Array> {
  const handles = [reader.u32be(), reader.u32be()];
  if (!fake.buffer || handles.some((handle) => handle !== MESSAGE_BUFFER.index)) return response(RC.handle);
  fake.buffer.set(await fake.answer(fake.buffer));
  return authorized();
}

function authorized(parameters: Uint8Array = new Uint8Array()): Uint8Array {
  return response(0, concat(u32be(parameters.length), parameters, AUTHORIZATION), 0x8002);
}

/** The user data in a request, whose other members are null. */
export function userDataOf(buffer: Uint8Array): Uint8Array {
  const head = toHex(concat(utf8('user_data'), Uint8Array.of(0x58, 64)));
  const at = toHex(buffer).indexOf(head) / 2 + head.length / 2;
  return buffer.slice(at, at + 64);
}
