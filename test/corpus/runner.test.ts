import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as dcap from '../support/dcapAuthority.ts';
import * as snp from '../support/snpAuthority.ts';
import { type CorpusRun, runCorpus, runCorpusAlone } from './corpusProgram.ts';

// The corpus runner as it is called, over cases of our own.

const AT = '2026-06-15T12:00:00Z';

let scratch: string;
let genuine: Files;
let tampered: Files;
/** A debug TD whose quote comes without Intel's statements. */
let debugTd: Files;
/** A quote that carries no certificates, and those certificates. */
let bareQuote: Files;
let pckChain: readonly Uint8Array[];

type Files = Readonly<Record<string, { readonly role: string; readonly bytes: Uint8Array }>>;

/** What `case.json` says; members that are undefined are left out. */
type Stated = Readonly<Record<string, unknown>>;

function accept(files: Files, changes: Stated = {}): Stated {
  return {
    format: 'snp-attestation-report',
    files: Object.entries(files).map(([path, { role }]) => ({ path, role })),
    verifyAt: AT,
    expected: { verdict: 'accept', reasons: [] },
    ...changes,
  };
}

function refuse(files: Files, reasons: readonly string[], changes: Stated = {}): Stated {
  return accept(files, { expected: { verdict: 'refuse', reasons }, ...changes });
}

function write(path: string, content: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Writes a case below a corpus of that name. */
function writeCase(corpus: string, id: string, files: Files, stated: Stated | string): void {
  const folder = join(scratch, corpus, id);
  for (const [path, { bytes }] of Object.entries(files)) write(join(folder, path), bytes);
  const json = typeof stated === 'string' ? stated : JSON.stringify({ id, ...stated });
  write(join(folder, 'case.json'), json);
}

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'corpus-'));
  const [authority, keys] = await Promise.all([snp.mintAuthority('genoa'), snp.generateChipKeys()]);
  const report = await snp.signReport(snp.genoaReport(), keys);
  const chain = {
    'vcek.der': { role: 'VCEK certificate', bytes: await authority.issueVek(keys) },
    'ask_ark.pem': { role: 'ASK then ARK', bytes: dcap.pemChain([authority.ask, authority.ark], '') },
    'ark.der': { role: 'trust anchor to inject for this case', bytes: authority.ark },
  };
  genuine = { ...chain, 'report.bin': { role: 'attestation report', bytes: report } };
  tampered = { ...chain, 'report.bin': { role: 'tampered', bytes: report.with(0x090, 0) } };
  await mintQuotes();
});

async function mintQuotes(): Promise<void> {
  const intel = await dcap.mintDcapAuthority();
  const machine = await intel.mintMachine();
  pckChain = machine.chain;
  const anchor = { role: 'trust anchor to inject for this case', bytes: intel.root.der };
  const debug = (report: DataView) => report.setBigUint64(dcap.TD.tdAttributes, 1n, true);
  const quoteOf = async (options: dcap.QuoteOptions) => ({
    'anchor.der': anchor,
    'quote.bin': { role: 'quote', bytes: await dcap.issueQuote(machine, options) },
  });
  debugTd = await quoteOf({ body: dcap.tdReport('td10', debug) });
  bareQuote = await quoteOf({ certification: { type: 1, data: new Uint8Array(36) } });
}

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const TD = { format: 'dcap-quote-td10' };

describe('cases that agree', () => {
  let ran: CorpusRun;

  beforeAll(async () => {
    writeCase('right', 'amd/genuine', genuine, accept(genuine));
    writeCase('right', 'amd/tampered', tampered, refuse(tampered, ['SIGNATURE_INVALID']));
    const oneOf = refuse(tampered, ['CERT_REVOKED', 'SIGNATURE_INVALID', 'A_REASON_OF_TOMORROW']);
    writeCase('right', 'amd/one-of-several', tampered, oneOf);
    const later = { at: '2040-01-01T00:00:00Z', verdict: 'refuse', reasons: ['CERT_EXPIRED'] };
    writeCase('right', 'amd/later', genuine, accept(genuine, { alsoAt: [later] }));
    writeCase('right', 'amd/timeless', genuine, accept(genuine, { verifyAt: null }));
    writeCase('right', 'intel/debug', debugTd, refuse(debugTd, ['DEBUG_ENABLED'], TD));
    const bare = { 'report.bin': genuine['report.bin']! };
    writeCase('right', 'amd/incomplete', bare, refuse(bare, ['CERT_MISSING']));
    const nothing = refuse({}, ['EVIDENCE_INCOMPLETE'], { format: 'x509-ek-ak' });
    writeCase('right', 'tpm/no-certificates', {}, nothing);
    const bound = { facts: { expectedReportDataHex: '5a'.repeat(64) } };
    writeCase('right', 'amd/bound', genuine, accept(genuine, bound));
    const other = { facts: { expectedReportDataHex: '00'.repeat(64) } };
    writeCase('right', 'amd/bound-otherwise', genuine, refuse(genuine, ['BINDING_MISMATCH'], other));
    writeCase('right', 'intel/from-roots', bareQuote, refuse(bareQuote, ['COLLATERAL_MISSING'], TD));
    for (const [i, der] of pckChain.entries()) write(join(scratch, 'right', 'roots', `${i}.der`), der);
    ran = await runCorpusAlone(join(scratch, 'right'));
  }, 60_000);

  test('exit 0, with the count last', () => {
    expect(ran.stderr).toBe('');
    expect(ran.lines.filter((line) => line.startsWith('DISAGREE'))).toEqual([]);
    expect(ran.lines.at(-1)).toBe('agree 12 of 12');
    expect(ran.status).toBe(0);
  });

  test('at each of their instants', () => {
    expect(ran.lines).toContain(
      'agree     amd/later at 2040-01-01T00:00Z: expected refuse CERT_EXPIRED; got refuse CERT_EXPIRED',
    );
  });

  test('what is merely missing decides nothing beside a failure against the evidence', () => {
    const line = ran.lines.find((text) => text.includes('intel/debug'));
    expect(line).toMatch(/got refuse .*COLLATERAL_MISSING.*DEBUG_ENABLED$/);
  });

  test('certificates of `roots` complete a chain', () => {
    expect(ran.lines.some((line) => /intel\/from-roots.*got refuse COLLATERAL_MISSING/.test(line))).toBe(
      true,
    );
  });

  test('so they do with portable cryptography', async () => {
    expect((await runCorpus(join(scratch, 'right'), '--portable')).lines).toEqual(ran.lines);
  }, 60_000);

  test('as one JSON document', async () => {
    const { status, lines } = await runCorpus(join(scratch, 'right'), '--json');
    const rows = JSON.parse(lines.join('\n')) as readonly { readonly id: string; readonly agrees: boolean }[];
    expect(status).toBe(0);
    expect(rows).toHaveLength(12);
    expect(rows.find(({ id }) => id === 'amd/genuine')).toEqual({
      id: 'amd/genuine',
      at: '2026-06-15T12:00:00.000Z',
      expected: { verdict: 'accept', reasons: [] },
      got: 'accept',
      codes: [],
      reason: null,
      agrees: true,
    });
  }, 60_000);
});

describe('cases that do not', () => {
  let ran: CorpusRun;

  /** Each with what stands beside it. */
  const wrong: readonly (readonly [id: string, why: RegExp])[] = [
    ['accepts-tampered', /expected accept; got refuse SIGNATURE_INVALID/],
    ['refuses-genuine', /expected refuse SIGNATURE_INVALID; got accept/],
    ['another-reason', /expected refuse CERT_REVOKED; got refuse SIGNATURE_INVALID/],
    ['no-reason', /expected refuse; got refuse SIGNATURE_INVALID/],
    ['unknown-reason', /expected refuse FORGED; got refuse SIGNATURE_INVALID/],
    ['code-without-reason', /expected refuse UNSUPPORTED; got refuse UNSUPPORTED/],
    ['reason-of-objects', /expected refuse constructor; got refuse SIGNATURE_INVALID/],
    ['only-missing-stated', /expected refuse COLLATERAL_MISSING; got refuse .*DEBUG_ENABLED/],
    ['unknown-format', /got refuse UNSUPPORTED/],
    ['format-of-objects', /got refuse UNSUPPORTED/],
    ['no-json', /got error/],
    ['other-verdict', /got error/],
    ['no-instant', /got error/],
    ['no-files', /got error/],
    ['missing-file', /got error/],
    ['path-up', /got error/],
    ['path-up-inside', /got error/],
    ['path-absolute', /got error/],
    ['link-out', /got error/],
    ['facts-of-another-shape', /got (?:error|refuse MALFORMED)/],
  ];

  beforeAll(async () => {
    const put = (id: string, stated: Stated | string, files: Files = tampered) =>
      writeCase('wrong', id, files, stated);
    put('accepts-tampered', accept(tampered));
    put('refuses-genuine', refuse(genuine, ['SIGNATURE_INVALID']), genuine);
    put('another-reason', refuse(tampered, ['CERT_REVOKED']));
    put('no-reason', refuse(tampered, []));
    put('unknown-reason', refuse(tampered, ['FORGED']));
    put('code-without-reason', refuse(tampered, ['UNSUPPORTED'], { format: 'sev-es-report' }));
    put('reason-of-objects', refuse(tampered, ['constructor']));
    put('only-missing-stated', refuse(debugTd, ['COLLATERAL_MISSING'], TD), debugTd);
    put('unknown-format', refuse(tampered, ['MALFORMED'], { format: 'sev-es-report' }));
    put('format-of-objects', refuse(tampered, ['MALFORMED'], { format: 'constructor' }));
    put('no-json', '{"id": "no-json"');
    put('other-verdict', accept(tampered, { expected: { verdict: 'perhaps', reasons: [] } }));
    put('no-instant', accept(tampered, { verifyAt: 'soon' }));
    put('no-files', accept(tampered, { files: undefined }));
    put('missing-file', accept(tampered, { files: [{ path: 'report.bin.gz', role: 'report' }] }));
    putPaths();
    const facts = { expectedReportDataHex: 'ZZ', replayed: 7 };
    put('facts-of-another-shape', accept(genuine, { facts }), genuine);
    writeCase('wrong', 'right', genuine, accept(genuine));
    ran = await runCorpus(join(scratch, 'wrong'));
  }, 60_000);

  function putPaths(): void {
    const naming = (path: string) => accept({}, { files: [{ path, role: 'attestation report' }] });
    write(join(scratch, 'secret'), 'of this machine');
    writeCase('wrong', 'path-up', {}, naming('../right/report.bin'));
    writeCase('wrong', 'path-up-inside', {}, naming('files/../../right/report.bin'));
    writeCase('wrong', 'path-absolute', {}, naming(join(scratch, 'secret')));
    writeCase('wrong', 'link-out', {}, naming('report.bin'));
    symlinkSync(join(scratch, 'secret'), join(scratch, 'wrong', 'link-out', 'report.bin'));
  }

  test('exit 1, with the count last and every other case judged', () => {
    expect(ran.lines.at(-1)).toBe(`agree 1 of ${wrong.length + 1}`);
    expect(ran.status).toBe(1);
    expect(ran.lines).toContain('agree     right at 2026-06-15T12:00Z: expected accept; got accept');
  });

  test.each(wrong)('%s disagrees and says why', (id, why) => {
    const at = ran.lines.findIndex(
      (line) => line.startsWith(`DISAGREE  ${id}:`) || line.startsWith(`DISAGREE  ${id} `),
    );
    expect(ran.lines[at]).toMatch(why);
    // A reason follows wherever there is one: only an acceptance has none.
    expect((ran.lines[at + 1] ?? '').startsWith('          ')).toBe(id !== 'refuses-genuine');
  });

  test('no path leads out of the folder of its case', () => {
    for (const id of ['path-up', 'path-up-inside', 'path-absolute']) {
      const at = ran.lines.findIndex((line) => line.startsWith(`DISAGREE  ${id}:`));
      expect(ran.lines[at + 1]).toBe('          files.0.path: expected a path below the folder of the case');
    }
    const at = ran.lines.findIndex((line) => line.startsWith('DISAGREE  link-out:'));
    expect(ran.lines[at + 1]).toContain('report.bin leads out of the corpus');
  });
});

describe('folders that hold no corpus', () => {
  test('an empty one agrees with nothing', async () => {
    mkdirSync(join(scratch, 'empty'));
    const { status, lines } = await runCorpus(join(scratch, 'empty'));
    expect({ status, last: lines.at(-1) }).toEqual({ status: 1, last: 'agree 0 of 0' });
  }, 60_000);

  test('an absent one is named', async () => {
    const { status, stderr } = await runCorpusAlone(join(scratch, 'absent'));
    expect(status).toBe(1);
    expect(stderr).toContain('absent is no folder');
  }, 60_000);
});
