import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectFile, inspectionJson, type Inspection } from '../../../src/cli/inspect.ts';
import { rangesText } from '../../../src/cli/inspectSection.ts';
import type { ShownKind } from '../../../attestation/recognition/recognise.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { printed, said, unreadable } from './inspectOutput.ts';

type Facts = Readonly<Record<string, unknown>>;

interface Case {
  readonly files: readonly { readonly path: string; readonly role: string }[];
  readonly facts?: Facts;
  readonly deviceFacts?: readonly (Facts & { readonly file: string; readonly index: number })[];
  readonly checks?: Readonly<Record<string, unknown>>;
}

interface CorpusFile {
  /** Case and path. */
  readonly id: string;
  readonly path: string;
  readonly role: string;
  readonly of: Case;
}

function filesOf(corpus: string): readonly CorpusFile[] {
  const cases = readdirSync(corpus, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return cases.flatMap(({ name }) => {
    const of = JSON.parse(readFileSync(join(corpus, name, 'case.json'), 'utf8')) as Case;
    return of.files.map(({ path, role }) => ({
      id: `${name}/${path}`,
      path: join(corpus, name, path),
      role,
      of,
    }));
  });
}

/** What a role is. The first that fits counts. */
const ROLES: readonly (readonly [role: RegExp, kind: ShownKind])[] = [
  [/^rim-fragment$/, 'rim'],
  [/certificate-chain|trust anchor|^same key/, 'certificates'],
  [/attestation-report/, 'device-report'],
  [/evidence-array$/, 'device-evidence'],
  [/^nras-request-body$/, 'nras-request'],
  [/^nras-detached-eat/, 'nras-answer'],
  [/^nras-overall-token$/, 'jwt'],
  [/^nras-jwks$/, 'jwks'],
  [/^ocsp-response/, 'ocsp-response'],
  [/rim/, 'rim'],
  [/^policy$/, 'unknown'],
];

/** Files that cannot be shown, and what is said of them. */
const UNREADABLE: Readonly<Record<string, string>> = {
  'h100-580.95.05-trailing-zero/report.hex': 'MALFORMED: device report: 1 bytes follow the end',
  'rim-malformed-a/failure_missing_colloquial_version.xml': 'is no file that is known here',
};

/** Facts that the output must hold as they are. */
const TEXTS = [
  'requestNonceHex', 'responderNonceHex', 'driverVersion', 'vbiosVersion', 'project', 'projectSku', 'chipSku', 'chipInfo', 'fwidHex',
  'sysEnableStatusHex', 'driverRimId', 'vbiosRimId', 'biosRimId', 'biosVersion', 'devicePdi', 'lockStatusHex', 'floorsweptPortsHex',
  'gpuInfoHex', 'switchPdis', 'gpuPdis',
]; // prettier-ignore

function textsOf(facts: Facts): readonly string[] {
  return TEXTS.flatMap((name) => facts[name] ?? []).flatMap((value) => value as string | readonly string[]);
}

/** Rows that facts of another form must give. */
function rowsOf(facts: Facts): readonly string[] {
  const rows: readonly (readonly [row: string, value: string | number | undefined | null])[] = [
    ['bytes', facts['reportBytes'] as number | undefined],
    ['measurements', facts['measurementBlocks'] as number | undefined],
    ['mode', typeof facts['featureFlag'] === 'string' ? facts['featureFlag'].toLowerCase() : undefined],
    ['position', facts['positionId'] === undefined ? undefined : `${Number(facts['positionId'])} (`],
    ['opaque fields', (facts['opaqueFieldIds'] as readonly number[] | undefined)?.join(' ')],
    [
      'protected PCIe',
      typeof facts['protectedPcieByte'] === 'string' ? `0x${facts['protectedPcieByte']}: ` : undefined,
    ],
    ['NVDEC0', { ENABLED: '0xaa: on', DISABLED: '0x55: off' }[facts['nvdec0Status'] as string]],
  ];
  return rows.flatMap(([row, value]) => (value === undefined || value === null ? [] : [`${row}  ${value}`]));
}

interface Section {
  readonly title: string;
  readonly entries?: readonly Record<string, string>[];
}

function sectionsOf(inspection: Inspection): readonly Section[] {
  return (JSON.parse(inspectionJson(inspection)) as { readonly sections: readonly Section[] }).sections;
}

/** SHA-256 over all measurements of a device, as programs get them. */
function measurementsDigest(inspection: Inspection, title: string): string {
  const section = sectionsOf(inspection).find((each) => each.title === `${title} measurements by RIM index`);
  const values = section?.entries?.map(({ value = '' }) => Buffer.from(value, 'hex')) ?? [];
  return createHash('sha256').update(Buffer.concat(values)).digest('hex');
}

/** What is said between the title of one device and that of the next. */
function partOf(text: string, index: number): string {
  const start = text.indexOf(`\ndevice ${index}\nkind`);
  const end = text.indexOf(`\ndevice ${index + 1}\nkind`);
  return text.slice(start, end < 0 ? undefined : end);
}

interface RimFacts {
  readonly product: string;
  readonly colloquialVersion: string;
  readonly active: readonly number[];
  readonly alternatives: Readonly<Record<string, number>>;
  readonly leafNotBefore: string;
  readonly leafNotAfter: string;
  readonly digestOk: boolean;
}

const GENUINE = ['foreign parts  none', 'layout  as NVIDIA writes it'];
const RIM_CHECKS: Readonly<Record<string, readonly string[]>> = {
  'driver.rim.xml': ['driverRim'],
  'vbios.rim.xml': ['vbiosRim'],
  'vbios-2023.rim.xml': ['vbios2023Rim', 'vbiosRim'],
  'bios.rim.xml': ['biosRim'],
  'vbios-other-version.debug-signed.rim.xml': ['foreignRim'],
};

function rimFacts({ id, of }: CorpusFile): RimFacts | undefined {
  const name = id.slice(id.indexOf('/') + 1);
  const alone = of.checks?.[name] as { readonly checks: RimFacts } | undefined;
  const key = RIM_CHECKS[name]?.find((each) => of.checks?.[each] !== undefined);
  const found = alone?.checks ?? (key === undefined ? undefined : of.checks?.[key]);
  return (found as RimFacts | undefined)?.active && (found as RimFacts);
}

describeCorpus('GPU evidence', 'evidence/gpu/', (corpus) => {
  const files = filesOf(corpus);
  const kindOf = ({ role }: CorpusFile) => ROLES.find(([pattern]) => pattern.test(role))?.[1];
  const ofKind = (...kinds: readonly ShownKind[]) =>
    files.filter((file) => kinds.includes(kindOf(file) ?? 'unknown') && UNREADABLE[file.id] === undefined);
  const show = ({ path, id }: CorpusFile) => inspectBytes(readFileSync(path), id);

  test('every role is known here', () => {
    expect(files.filter((file) => kindOf(file) === undefined).map(({ role }) => role)).toEqual([]);
    expect(files.length).toBeGreaterThan(70);
  });

  test('every file is recognised, readable and shown in 80 columns', () => {
    for (const file of files) {
      const expected = kindOf(file);
      if (UNREADABLE[file.id] !== undefined || expected === 'unknown') continue;
      const inspection = show(file);
      expect([file.id, inspection.kind]).toEqual([file.id, expected]);
      const broken = file.role === 'rim-fragment' ? undefined : /.*unreadable.*/.exec(said(inspection))?.[0];
      expect([file.id, broken]).toEqual([file.id, undefined]);
      const wide = printed(inspection)
        .split('\n')
        .find((line) => line.length > 80);
      expect([file.id, wide]).toEqual([file.id, undefined]);
    }
  });

  test('a file that cannot be shown says why', () => {
    const refused = files.filter((file) => kindOf(file) === 'unknown' || UNREADABLE[file.id] !== undefined);
    for (const { id, path } of refused) {
      const error = unreadable(readFileSync(path));
      expect([id, error?.exit]).toEqual([id, EXIT.unreadable]);
      expect(error?.message).toContain(UNREADABLE[id] ?? 'it is a JSON object of');
    }
    expect(refused).toHaveLength(12);
  });

  test('a report says the facts of its case', () => {
    const reports = ofKind('device-report');
    for (const file of reports) {
      const facts = file.of.facts ?? {};
      const inspection = show(file);
      const text = said(inspection);
      const wanted = [...textsOf(facts), ...rowsOf(facts)];
      expect([file.id, wanted.filter((fact) => !text.includes(fact))]).toEqual([file.id, []]);
      expect(wanted.length).toBeGreaterThan(10);
      expect([file.id, measurementsDigest(inspection, 'device')]).toEqual([
        file.id,
        facts['measurementsSha256'],
      ]);
    }
    expect(reports).toHaveLength(9);
  });

  test('a report with its chain says whose it is', async () => {
    const reports = ofKind('device-report').filter(({ of }) => of.facts?.['ueid'] !== undefined);
    for (const { id, path, of } of reports) {
      const chain = path.replace('report.hex', 'certchain.pem');
      const text = said(await inspectFile(path, { chain: [chain] }));
      expect([id, text.includes(`UEID  ${of.facts!['ueid'] as string}\n`)]).toEqual([id, true]);
      expect(text).toContain(`leaf serial  ${of.facts!['leafSerialHex'] as string}`);
      expect([id, text.includes('certified firmware') && text.includes('NOT that of the report')]).toEqual([
        id,
        id.startsWith('h100-560.00-wrong-chain'),
      ]);
    }
    expect(reports.length).toBeGreaterThan(5);
  });

  test('every device of a file says its facts', () => {
    let devices = 0;
    for (const file of ofKind('device-evidence', 'nras-request')) {
      const inspection = show(file);
      const text = said(inspection);
      const name = file.id.slice(file.id.indexOf('/') + 1);
      for (const facts of file.of.deviceFacts?.filter((each) => each.file === name) ?? []) {
        const part = partOf(text, facts.index);
        const wanted = [...textsOf(facts), ...rowsOf(facts), `UEID  ${facts['ueid'] as string}`];
        expect([file.id, facts.index, wanted.filter((fact) => !part.includes(fact))]).toEqual([
          file.id,
          facts.index,
          [],
        ]);
        const digest = measurementsDigest(inspection, `device ${facts.index}`);
        expect([file.id, facts.index, digest]).toEqual([
          file.id,
          facts.index,
          facts['measurementsSha256'] ?? digest,
        ]);
        devices += 1;
      }
    }
    expect(devices).toBeGreaterThanOrEqual(28);
  });

  test('a manifest says what it is for, and whether its digest is of it', () => {
    let judged = 0;
    for (const file of ofKind('rim')) {
      const facts = rimFacts(file);
      if (!facts) continue;
      const text = said(show(file));
      const several = Object.keys(facts.alternatives)
        .map(Number)
        .toSorted((a, b) => a - b);
      for (const says of [
        `product  ${facts.product}`,
        `version  ${facts.colloquialVersion}`,
        `active  ${rangesText(facts.active)}`,
        `with alternatives  ${rangesText(several)}`,
        `signer valid  ${facts.leafNotBefore} to ${facts.leafNotAfter}`,
        `digest  ${facts.digestOk ? 'that' : 'NOT that'} of the manifest`,
        ...(file.id.includes('debug') ? ['2 certificates instead of 4', 'refuses its chain'] : GENUINE),
      ]) {
        expect([file.id, says, text.includes(says)]).toEqual([file.id, says, true]);
      }
      judged += 1;
    }
    expect(judged).toBeGreaterThan(13);
  });

  test.each([
    ['rim-dtd/driver.rim.xml', 'foreign parts  DTD (DOCTYPE)'],
    ['rim-key-confusion/keyvalue.rim.xml', 'foreign parts  ds:KeyValue in KeyInfo'],
    ['rim-key-confusion/foreign-cert-first.rim.xml', 'foreign parts  5 certificates instead of 4'],
  ])('%s says what is wrong with it', (id, says) => {
    expect(said(inspectBytes(readFileSync(join(corpus, id)), id))).toContain(says);
  });

  test.each([
    ['h100-550.90.07-full', ['driver.rim.xml', 'vbios.rim.xml']],
    ['h100-545.00-no-fwid', ['driver.rim.xml', 'vbios.rim.xml']],
    ['h100-535.86.09-rim-negative', ['driver.rim.xml', 'vbios.rim.xml']],
    ['ls10-96.10.55.00.01-full', ['bios.rim.xml']],
  ])('the report of %s beside its manifests', async (id, rims) => {
    const folder = join(corpus, id);
    const { checks } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as {
      readonly checks: { readonly measurements: Readonly<Record<string, readonly number[]>> };
    };
    const inspection = await inspectFile(join(folder, 'report.hex'), {
      rim: rims.map((name) => join(folder, name)),
    });
    const { entries = [] } = sectionsOf(inspection).find(({ title }) => title.startsWith('device compared'))!;
    const indices = (wanted: string, reason?: string) =>
      entries
        .filter((entry) => entry['result'] === wanted && entry['reason'] === reason)
        .map(({ index }) => Number(index));
    expect(indices('equal')).toEqual(checks.measurements['comparedAndEqual']);
    expect(indices('differs')).toEqual(checks.measurements['mismatched']);
    expect(indices('not judged', 'NVDEC0 is off')).toEqual(checks.measurements['skipped']);
  });

  test('every OCSP response says good, for a day', () => {
    const responses = ofKind('ocsp-response');
    for (const file of responses) {
      const checks = file.of.checks?.['ocsp'] as readonly Readonly<Record<string, string>>[];
      const facts = checks.find((each) => file.id.endsWith(each['file']!))!;
      const text = said(show(file));
      for (const says of [
        'status  good',
        `serial  ${facts['serial']!}`,
        `produced  ${facts['producedAt']!}`,
        `valid  ${facts['thisUpdate']!} to ${facts['nextUpdate']!}`,
      ]) {
        expect([file.id, says, text.includes(says)]).toEqual([file.id, says, true]);
      }
    }
    expect(responses).toHaveLength(7);
  });

  test('every answer of the service names the tokens that it has, and every key set serves them', () => {
    const answers = ofKind('nras-answer');
    for (const file of answers) {
      const text = said(show(file));
      expect([file.id, text.includes('NOT ')]).toEqual([file.id, false]);
      expect([file.id, text.includes('unknown claims')]).toEqual([file.id, false]);
      expect(text).toContain('computed, not verified');
      const result = file.id.startsWith('nras-v3-nonce-mismatch') ? 'false' : 'true';
      expect(text).toContain(`overall-att-result  ${result}`);
      const keys = readFileSync(join(corpus, file.id.split('/')[0]!, 'case.json'), 'utf8').includes(
        'jwks.json',
      )
        ? said(show(files.find(({ id }) => id === `${file.id.split('/')[0]!}/jwks.json`)!))
        : undefined;
      const kid = /kid {2}(\S+)/.exec(text)![1]!;
      if (keys !== undefined) expect(keys).toContain(`${kid} (EC P-384`);
    }
    expect(answers).toHaveLength(4);
    const [overall] = ofKind('jwt');
    expect(said(show(overall!))).toContain('there is no such token here');
  });

  test('every trust anchor of NVIDIA is named as the one that it is', () => {
    const named = files
      .filter(({ id }) => id.startsWith('roots/'))
      .map((file) => /pinned as {2}(.*)/.exec(said(show(file)))?.[1]);
    expect(named).toEqual([
      'NVIDIA Device Identity CA (nvidia-device)',
      'NVIDIA Device Identity CA (nvidia-device)',
      'NVIDIA CoRIM signing Root CA (nvidia-rim)',
    ]);
  });
});
