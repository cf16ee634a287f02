import { expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { guidText } from '../../attestation/evidence/bootlog/text.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { Needle } from '../../attestation/receipt/needle.ts';
import { measureFirmware } from '../../enclave/predict/snp/launchDigest.ts';
import { mintFirmware } from '../support/mintedFirmware.ts';
import { genoaReport } from '../support/snpAuthority.ts';

// Files are read into Buffers, whose `slice` is a view: what is turned around or kept must be a copy all the same.

const FIRMWARE = mintFirmware({ sev: [{ address: 0x80_0000, size: 0x1000, type: 1 }], reset: 0x80_b004 });

test.each<[name: string, bytes: Uint8Array, read: (bytes: Uint8Array) => unknown]>([
  ['an SNP report', genoaReport(), (bytes) => toHex(parseSnpReport(bytes).signature)],
  ['a GUID', fromHex('61dfe48bca93d211aa0d00e098032b8c'), guidText],
  ['firmware', FIRMWARE, (bytes) => toHex(measureFirmware(bytes, nodeCrypto).digest)],
])('%s in a Buffer is read as in any array, and left as it is', (_name, bytes, read) => {
  const buffer = Buffer.from(bytes);
  expect([read(buffer), read(buffer)]).toEqual([read(bytes), read(bytes)]);
  expect(buffer.equals(bytes)).toBe(true);
});

test('bytes that are looked for stay what they were when their Buffer is used again', () => {
  const buffer = Buffer.from('a header');
  const needle = new Needle(buffer);
  const haystack = Buffer.from('a header');
  const view = new DataView(haystack.buffer, haystack.byteOffset, haystack.length);
  buffer.fill(0);
  expect(needle.isAt(view, 0)).toBe(true);
});
