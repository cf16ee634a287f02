import { concat } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { CC, u32be, type TpmCommand } from './command.ts';
import { readEvidence } from '../reading.ts';
import type { TpmSession } from './session.ts';

/** TPM_CAP_TPM_PROPERTIES (part 2, section 6.12). */
const PROPERTIES = 6;
/** TPM_PT (part 2, section 6.13): four letters of the vendor, its name in four parts, most bytes of one NV command. */
const PT = { manufacturer: 0x105, vendorStrings: [0x106, 0x107, 0x108, 0x109], nvBufferMax: 0x12c } as const;
/** Every TPM takes this much in one NV command; the reference implementation takes 1024. */
const SMALLEST_NV_BUFFER = 512;
const LARGEST_NV_BUFFER = 1024;

/** One TPM_PT; undefined where this TPM does not state it. */
async function readProperty(session: TpmSession, property: number): Promise<number | undefined> {
  const command: TpmCommand = {
    name: 'GetCapability',
    code: CC.getCapability,
    handles: [],
    authorizations: 0,
    parameters: concat(u32be(PROPERTIES), u32be(property), u32be(1)),
    responseHandles: 0,
  };
  const { parameters } = await session.run(command);
  return readEvidence('capabilities of the TPM', () => parseProperty(parameters, property));
}

/** TPMI_YES_NO, then TPMS_CAPABILITY_DATA with a TPML_TAGGED_TPM_PROPERTY: the property asked for, or one above it. */
export function parseProperty(parameters: Uint8Array, wanted: number): number | undefined {
  const reader = new ByteReader(parameters, 'TPMS_CAPABILITY_DATA');
  reader.u8();
  const capability = reader.u32be();
  if (capability !== PROPERTIES) throw new Refusal('MALFORMED', `capability ${capability} was not asked for`);
  const count = reader.u32be();
  if (count > 1) throw new Refusal('MALFORMED', `${count} properties, one was asked for`);
  const [property, value] = count === 1 ? [reader.u32be(), reader.u32be()] : [];
  reader.end();
  return property === wanted ? value : undefined;
}

/** Most bytes of one NV read or write. */
export async function readNvBufferSize(session: TpmSession): Promise<number> {
  const stated = (await readProperty(session, PT.nvBufferMax)) ?? SMALLEST_NV_BUFFER;
  return Math.min(Math.max(stated, SMALLEST_NV_BUFFER), LARGEST_NV_BUFFER);
}

/** Up to four letters of the TCG vendor registry, such as `MSFT`, `GOOG` or `IBM`; what else came, as hex. */
export async function readManufacturer(session: TpmSession): Promise<string> {
  const value = (await readProperty(session, PT.manufacturer)) ?? 0;
  return asText(u32be(value)) || value.toString(16).padStart(8, '0');
}

/** The name that the vendor gives the TPM, such as `NitroTPM`; empty where it is no text. */
export async function readVendorName(session: TpmSession): Promise<string> {
  const parts: Uint8Array[] = [];
  for (const property of PT.vendorStrings) parts.push(u32be((await readProperty(session, property)) ?? 0));
  return asText(concat(...parts));
}

/** Printable ASCII in front of zeros; empty for anything else. */
function asText(bytes: Uint8Array): string {
  const text = String.fromCharCode(...bytes).replace(/\0+$/, '');
  return /^[\x20-\x7e]*$/.test(text) ? text.trim() : '';
}
