import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { FIELD } from '../../attestation/evidence/nvidia/opaque.ts';
import type { GpuReport, SwitchReport } from '../../attestation/evidence/nvidia/parse.ts';
import { rangesText } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** Per-device identifier: names a device within its machine. */
const PDI_BYTES = 8;
const GPUS_OF_SWITCH = 8;
const POSITION = 24;

/** To which switches the links of a GPU lead. */
export function gpuLinkRows({ fields, switchPdis }: GpuReport): readonly Row[] {
  const field = fields.get(FIELD.switchPdis);
  if (!field) return [['switch PDIs', 'not stated']];
  const links = pdisOf(field);
  const active = links.filter((pdi) => !isZero(pdi)).length;
  return [
    ['links', `${active} of ${links.length} active`],
    ...switchPdis.map((pdi): Row => {
      const reversed = toHex(Uint8Array.from(Buffer.from(pdi, 'hex')).toReversed());
      const at = links.flatMap((link, i) => (toHex(link) === reversed ? [i] : []));
      return ['switch PDI', `${pdi} (link ${rangesText(at)}; in the report ${reversed})`];
    }),
    ['PDI byte order', 'as switches and certificates have it: a GPU writes it reversed'],
  ];
}

/** Who the switch is, where it is, and which GPUs are at its ports. */
export function switchPortRows({ fields, pdi, gpuPdis }: SwitchReport): readonly Row[] {
  const position = fields.get(POSITION);
  const ports = fields.get(FIELD.gpuPdis);
  return [
    ['position', position ? positionText(position) : 'not stated'],
    ['own PDI', pdi ?? 'not stated'],
    ...(gpuPdis.length === 0 ? [['GPU PDI', 'none'] as const] : []),
    ...gpuPdis.map((each): Row => ['GPU PDI', `${each} (place ${placesOf(ports, each)})`]),
    ['PDI byte order', 'as certificates have it'],
    ...(ports ? [['port map', toHex(ports.subarray(GPUS_OF_SWITCH * PDI_BYTES))] as const] : []),
  ];
}

/** u16, little endian. */
function positionText(field: Uint8Array): string {
  const [low = 0, high = 0] = field;
  return `${low + 256 * high} (${toHex(field)})`;
}

function placesOf(ports: Uint8Array | undefined, pdi: string): string {
  const places = ports ? pdisOf(ports.subarray(0, GPUS_OF_SWITCH * PDI_BYTES)) : [];
  return rangesText(places.flatMap((each, i) => (toHex(each) === pdi ? [i] : [])));
}

function pdisOf(field: Uint8Array): readonly Uint8Array[] {
  return Array.from({ length: field.length / PDI_BYTES }, (_, i) =>
    field.subarray(i * PDI_BYTES, (i + 1) * PDI_BYTES),
  );
}
