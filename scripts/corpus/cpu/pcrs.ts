import { z } from 'zod';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { PcrBank } from '../../../attestation/evidence/evidence.ts';
import { parseStrictJson } from '../../../attestation/json/strict.ts';
import type { CaseFiles } from '../files.ts';

const pcrsSchema = z.partialRecord(
  z.enum(['sha1', 'sha256', 'sha384', 'sha512']),
  z.record(z.string().regex(/^\d{1,2}$/), z.string()),
);

/** The register values beside a quote: `pcrs.json`, or `pcrs_sha256.json` beside `quote_sha256`. */
export function pcrBanks(files: CaseFiles, stem: string): readonly PcrBank[] {
  const bank = /_(sha\d+)$/.exec(stem)?.[1];
  const json = parseStrictJson(files.need(bank === undefined ? 'pcrs.json' : `pcrs_${bank}.json`));
  const parsed = pcrsSchema.safeParse(json);
  if (!parsed.success) throw new Refusal('MALFORMED', 'the PCR values are not registers by bank');
  return Object.entries(parsed.data).map(([hash, values]) => ({
    hash: hash as PcrBank['hash'],
    values: new Map(Object.entries(values).map(([index, value]) => [Number(index), fromHex(value)])),
  }));
}
