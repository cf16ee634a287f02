import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { toBase64, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { NOT_JUDGED } from '../../../attestation/verdict/verdict.ts';
import { CHROMIUM, hasChromium, launchChromium } from '../../../scripts/bench/chromium.ts';
import type { CorpusCase, Expectation } from '../../../scripts/corpus/case.ts';
import { contextOf } from '../../../scripts/corpus/cpu/context.ts';
import { CORPUS_POLICY } from '../../../scripts/corpus/cpu/policy.ts';
import { CaseFiles } from '../../../scripts/corpus/files.ts';
import type { GpuCase } from '../../../scripts/corpus/gpu/case.ts';
import { applyChange } from '../../../scripts/corpus/gpu/change.ts';
import { demandsOf, instantOf, ownMaterial, type Material } from '../../../scripts/corpus/gpu/material.ts';
import { devicePolicy, revocationPolicy } from '../../../scripts/corpus/gpu/policy.ts';
import { findCases, loadCases, loadGpuCase } from '../../../scripts/corpus/load.ts';
import { REASONS } from '../../../scripts/corpus/reasons.ts';
import { buildPages } from '../../../scripts/pages.mjs';
import { reportOf } from '../../../src/page/verify/facts.ts';
import { failureOf } from '../../../src/page/verify/failure.ts';
import { judgeFiles } from '../../../src/page/verify/judge.ts';
import type { GivenFile, Request } from '../../../src/page/verify/protocol.ts';
import { describeCorpus } from '../../support/corpus.ts';

// The worker that the page carries, asked by its messages in the page itself from disk, under the policy of the page:
// its answer about the raw reports of every case is that of the same code in Node, and agrees with the case.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const START_MS = 60_000;
const BATCH_MS = 120_000;

type Asked = Omit<Request, 'id'>;
/** A verdict in the words of its checks, or the code of a failure. */
type Said = readonly string[];

const inPage = hasChromium() ? test : test.skip;

function ask(files: readonly GivenFile[], policy: Policy, rest: Partial<Asked>): Asked {
  const json = JSON.stringify(policy);
  return { subject: { files }, policy: { json }, now: 0, nonce: '', reportData: '', anchors: [], ...rest };
}

async function saidByNode(asked: Asked): Promise<Said> {
  try {
    const judged = await judgeFiles({ ...asked, id: 0 }, nodeCrypto);
    return words(reportOf(judged, nodeCrypto).verdict);
  } catch (error) {
    return [failureOf(error).code];
  }
}

function words({ decision, checks }: { decision: string; checks: readonly object[] }): Said {
  return [decision, ...checks.map((check) => JSON.stringify(check))];
}

/** All questions to one worker, one after the other. */
async function saidByPage(page: Page, questions: readonly Asked[]): Promise<readonly Said[]> {
  const travelling = questions.map(({ subject, ...rest }) => ({
    ...rest,
    files: 'files' in subject ? subject.files.map(({ name, bytes }) => [name, toBase64(bytes)] as const) : [],
  }));
  const answers = await page.evaluate(async (asked) => {
    const code = document.getElementById('worker')!.textContent;
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const answerTo = (id: number) =>
      new Promise<object>((resolve, reject) => {
        worker.onerror = ({ message }) => reject(new Error(message));
        worker.onmessage = ({ data }: MessageEvent<{ id: number; type: string }>) => {
          if (data.id === id && data.type !== 'devices') resolve(data);
        };
      });
    const bytesOf = (text: string) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const all = [];
    for (const [id, { files, ...rest }] of asked.entries()) {
      const subject = { files: files.map(([name, text]) => ({ name, bytes: bytesOf(text) })) };
      const answer = answerTo(id);
      worker.postMessage({ ...rest, subject, id });
      all.push(await answer);
    }
    worker.terminate();
    return all;
  }, travelling);
  return answers.map((answer) => {
    const { report, failure } = answer as {
      report?: { verdict: Parameters<typeof words>[0] };
      failure?: { code: string };
    };
    return report ? words(report.verdict) : [failure!.code];
  });
}

describeCorpus('the page on the corpus', 'evidence', (folder) => {
  let browser: Browser;
  let out: string;
  let page: Page;

  beforeAll(async () => {
    if (!hasChromium()) return;
    out = mkdtempSync(join(tmpdir(), 'vouchsafe-verify-'));
    const [file] = await buildPages(ROOT, out, ['verify']);
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(pathToFileURL(file!).href);
  }, START_MS);
  afterAll(async () => {
    if (!hasChromium()) return;
    await browser.close();
    rmSync(out, { recursive: true, force: true });
  });

  inPage(
    `every CPU case has the verdict of Node (${CHROMIUM})`,
    async () => {
      const cases = loadCases(join(folder, 'cpu')).flatMap((each) =>
        each.expectations.map((expectation) => ({ each, expectation, asked: askCpu(each, expectation) })),
      );
      const inNode = await Promise.all(cases.map(({ asked }) => saidByNode(asked)));
      expect(
        await saidByPage(
          page,
          cases.map(({ asked }) => asked),
        ),
      ).toEqual(inNode);
      const strange = cases.flatMap(({ each, expectation }, i) =>
        isJudgedAlone(each) && !agrees(expectation, inNode[i]!)
          ? [`${each.id}: ${failing(inNode[i]!).join(' ')}`]
          : [],
      );
      expect(strange).toEqual([]);
    },
    BATCH_MS,
  );

  inPage(
    'every GPU case and variant has the verdict of Node',
    async () => {
      const gpu = join(folder, 'gpu');
      const asked = findCases(gpu).flatMap((path) => askGpu(loadGpuCase(gpu, path)));
      expect(asked.length).toBeGreaterThan(10);
      const inNode = await Promise.all(asked.map(saidByNode));
      expect(await saidByPage(page, asked)).toEqual(inNode);
      expect(inNode.some(([decision]) => decision === 'accepted')).toBe(true);
    },
    BATCH_MS,
  );
});

/** Formats that are judged from their own files; the rest, a TPM's quote among them, are answered by what they lack. */
function isJudgedAlone({ id, format }: CorpusCase): boolean {
  return /^(?:snp-|dcap-quote-td|cose-sign1-nitro$)/.test(format) && !id.startsWith('azure/');
}

/** Files of a case that people would not drop: what the collector wrote beside, and parts of it that are no file. */
const NOT_DROPPED = /\.json$|report_data\.bin|ccel_table|fixture|quote_bincode|var_data|akpub/;
const DROPPED_JSON = /(?:tcb_?info|qe_?identity|thim|event_log)/i;

function askCpu(corpusCase: CorpusCase, { at }: Expectation): Asked {
  const { facts, files, authorities } = corpusCase;
  const named = new CaseFiles(corpusCase);
  const context = contextOf(named, at, nodeCrypto);
  const text = (name: string) => (typeof facts[name] === 'string' ? facts[name] : '');
  const stated = named.find('report_data.bin');
  const dropped = files.filter(({ path }) => !NOT_DROPPED.test(path) || DROPPED_JSON.test(path));
  const isShared = context.collateral.certificates.some((der) => authorities.includes(der));
  const given = [
    ...dropped.map(({ path, bytes }) => ({ name: path, bytes })),
    ...(isShared ? authorities.map((bytes, i) => ({ name: `authority ${i}`, bytes })) : []),
  ];
  return ask(given, CORPUS_POLICY, {
    now: context.now,
    nonce: '',
    reportData: text('expectedReportDataHex') || (stated ? toHex(stated) : ''),
    anchors: context.anchors
      .filter((anchor) => !DEFAULT_ANCHORS.includes(anchor))
      .map(
        (anchor) =>
          `${anchor.role}${'product' in anchor ? `/${String(anchor.product)}` : ''}:${anchor.spkiSha256}`,
      ),
  });
}

/** Codes of the failed checks, or that of a failure. */
function failing([first = '', ...checks]: Said): readonly string[] {
  if (checks.length === 0) return [first];
  const read = checks.map((check) => JSON.parse(check) as { result: string; code: string });
  return read.filter(({ result }) => result === 'fail').map(({ code }) => code);
}

/** As the corpus is agreed with: an acceptance has no failure, a refusal one for a stated reason. */
function agrees({ verdict, reasons }: Expectation, said: Said): boolean {
  const codes = failing(said);
  if (verdict === 'accept') return codes.length === 0;
  const against = codes.filter((code) => !(NOT_JUDGED as readonly string[]).includes(code));
  const stated = reasons.map((reason) => REASONS[reason] as string);
  const deciding = against.length > 0 ? against : codes;
  return deciding.length > 0 && deciding.every((code) => stated.includes(code));
}

/** Roles of evidence of devices: manifests and tokens alone are not judged by the page. */
const EVIDENCE = /^(?:gpu|nvswitch)-attestation-report|-evidence-array|^nras-request-body/;

/** A case and its variants, with what a person would drop of each. */
function askGpu(gpuCase: GpuCase): readonly Asked[] {
  if (!gpuCase.files.some(({ role }) => EVIDENCE.test(role))) return [];
  const own = ownMaterial(gpuCase);
  const demands = demandsOf(own);
  const policy = devicePolicy({ topology: 'any', revocation: revocationPolicy(demands) });
  const materials = [own, ...gpuCase.variants.map(({ change }) => applyChange(own, change))];
  return materials.map((material) =>
    ask(filesOf(material), policy, {
      now: instantOf(material.times.verifyAt, 'verifyAt'),
      nonce: material.nonceHex ?? '',
    }),
  );
}

function filesOf({ files, uses }: Material): readonly GivenFile[] {
  const paths = [...new Set(uses.filter(({ role }) => !/nras|policy/.test(role)).map(({ path }) => path))];
  return paths.flatMap((name) => {
    const bytes = files.get(name);
    return bytes ? [{ name, bytes }] : [];
  });
}
