import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { bhttpFamily } from './bhttp.ts';
import { aciFamily } from './aci.ts';
import { cborFamily } from './cbor.ts';
import { coseFamily } from './cose.ts';
import { sampleReceiptFamily, signedReceiptFamily } from './coseReceipts.ts';
import { ehbpFamily } from './ehbp.ts';
import type { Case, Family } from './family.ts';
import { hpkeFamily } from './hpke.ts';
import { jcsFamily } from './jcs.ts';
import { consistencyFamily, inclusionFamily } from './merkle.ts';
import { cosignatureFamily, noteFamily, vkeyFamily } from './notes.ts';
import { logFamily, mirrorFamily, tilePathFamily } from './tiles.ts';
import { ohttpFamily } from './ohttp.ts';
import { PEERS } from './peers.ts';
import { sigstoreTimestampFamily } from './timestamps.ts';
import { parseJson, type VectorFile } from './vectorFile.ts';
import { wycheproofFamily } from './wycheproof.ts';

const FAMILIES: readonly Family[] = [
  jcsFamily,
  aciFamily,
  cborFamily,
  coseFamily,
  signedReceiptFamily,
  sampleReceiptFamily,
  wycheproofFamily,
  inclusionFamily,
  consistencyFamily,
  vkeyFamily,
  noteFamily,
  cosignatureFamily,
  tilePathFamily,
  logFamily,
  mirrorFamily,
  sigstoreTimestampFamily,
  hpkeFamily,
  ehbpFamily,
  bhttpFamily,
  ohttpFamily,
];

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

type Print = (line: string) => void;

/** Runs every vector file below the folder; each line says whether our code agrees with one file. */
export async function runVectors(folder: string, print: Print): Promise<Tally> {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.md'))
    .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, '/').length).replaceAll('\\', '/'))
    .sort();
  let total: Tally = { passed: 0, failed: 0, skipped: 0 };
  for (const path of paths) total = sum(total, await runFile(folder, path, print));
  return total;
}

/** Runs ours against other implementations, on data that both make now. */
export async function runPeers(print: Print): Promise<Tally> {
  let total: Tally = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, cases } of PEERS) total = sum(total, await runCases(name, cases(), print));
  return total;
}

export function sum(a: Tally, b: Tally): Tally {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

const UNKNOWN: Tally = { passed: 0, failed: 0, skipped: 1 };
const MALFORMED: Tally = { passed: 0, failed: 1, skipped: 0 };

async function runFile(folder: string, path: string, print: Print): Promise<Tally> {
  if (!path.endsWith('.json')) {
    print(`skipped   ${path}: not a JSON file`);
    return UNKNOWN;
  }
  let cases: readonly Case[] | undefined;
  try {
    const read = (name: string): unknown => parseJson(readFileSync(join(folder, name), 'utf8'));
    const sibling = (name: string): unknown => read(join(dirname(path), name));
    cases = casesOf({ path, json: read(path), sibling });
  } catch (error) {
    print(`malformed ${path}: ${explain(error)}`);
    return MALFORMED;
  }
  if (!cases) {
    print(`skipped   ${path}: no known layout`);
    return UNKNOWN;
  }
  return await runCases(path, cases, print);
}

function casesOf(file: VectorFile): readonly Case[] | undefined {
  const cases = FAMILIES.find((family) => family.claims(file))?.cases(file);
  if (cases?.length === 0) throw new Error('it holds no vectors');
  return cases;
}

async function runCases(path: string, cases: readonly Case[], print: Print): Promise<Tally> {
  const failures: string[] = [];
  const skips = new Map<string, string[]>();
  for (const one of cases) {
    if ('skip' in one) skips.set(one.skip, [...(skips.get(one.skip) ?? []), one.name]);
    else {
      const failure = await failureOf(one.check);
      if (failure !== undefined) failures.push(`${one.name}: ${failure}`);
    }
  }
  const skipped = [...skips.values()].flat().length;
  const tally = { passed: cases.length - failures.length - skipped, failed: failures.length, skipped };
  print(`${failures.length === 0 ? 'agree    ' : 'disagree '} ${path}: ${describeTally(tally)}`);
  for (const failure of failures) print(`          ${failure}`);
  for (const [reason, names] of skips) print(`          skipped, ${reason}: ${names.join(', ')}`);
  return tally;
}

async function failureOf(check: () => void | Promise<void>): Promise<string | undefined> {
  try {
    await check();
    return undefined;
  } catch (error) {
    return explain(error);
  }
}

function explain(error: unknown): string {
  if (error instanceof z.ZodError) {
    return error.issues
      .slice(0, 3)
      .map(({ path, message }) => `${path.join('.')}: ${message}`)
      .join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

export function describeTally({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
