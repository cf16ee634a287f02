import type { AlgorithmEnds } from '../../attestation/archive/renewalTimestamp.ts';
import { encodeCollateral } from '../../attestation/bundle/collateral.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import type { ExportManifest } from '../export/manifest.ts';
import type { ArchiveSource } from '../export/source.ts';
import { concludeChecks, decideAudit, limitsOf, tierOfAudit } from './conclusion.ts';
import { checkFiles, type CheckedFiles } from './exportFiles.ts';
import { FindingList, type Finding } from './findings.ts';
import { auditInstance, type ExportedSpan } from './instanceAudit.ts';
import { listInstance, type ListedInstance } from './instanceFiles.ts';
import { firstKeyset, judgeLine, readOpenings, sizesNamed, type PlacedFinding } from './instanceLine.ts';
import { findKnownBad } from './knownBad.ts';
import { startProgress } from './progress.ts';
import { renewalsOf } from '../export/renewals.ts';
import { auditRenewals, type JudgedRenewals } from './renewals.ts';
import { judgeMissing, readExpired } from './retention.ts';
import type { AuditReport, InstanceReport, RenewalReport } from './report.ts';
import { laterJudgements, watchedManifests, type Revocations } from './revocations.ts';
import { bindingOf, readState, removeState, STATE_FORMAT, writeState, type AuditState } from './state.ts';
import { judgeTimes } from './times.ts';
import { countsOf, simulatedIn, totalsOf } from './totals.ts';
import { startWorkers } from './workers.ts';

export type AuditSource = ArchiveSource & Partial<CheckedFiles> & { readonly digest?: string | undefined };

export interface AuditOptions {
  /** For the report: file, folder or address. */
  readonly name: string;
  /** Policy, anchors, the caller's collateral, and the time for what no outsider dates. */
  readonly context: AppraisalContext;
  /** Judge everything at the context's time, even what anchors date. */
  readonly atGivenTime?: boolean;
  /** `covered`: receipts in trees that accepted hardware reports commit to need no signature check of their own. */
  readonly signatures: 'all' | 'covered';
  readonly revocations?: Revocations | undefined;
  /** When algorithms stopped being reliable: judges the renewals of an archive. */
  readonly algorithmEnds?: AlgorithmEnds | undefined;
  /** Worker threads; 0 does all in this one. */
  readonly workers: number;
  /** File that holds how far the audit is; removed at its end. */
  readonly stateFile?: string | undefined;
  /** Milliseconds between two saves of the state. */
  readonly saveEveryMs?: number | undefined;
  readonly software: string;
}

export interface AuditProgress {
  expect(bytes: number): void;
  add(bytes: number): void;
}

const SILENT: AuditProgress = { expect: () => undefined, add: () => undefined };
const SAVE_EVERY_MS = 3000;
const NO_REVOCATIONS: Revocations = { format: 'vouchsafe/revocations/1', entries: [] };

/** Verifies everything in an export, offline. It throws for misuse and what cannot be read; what it finds, it reports. */
export async function auditExport(
  source: AuditSource,
  options: AuditOptions,
  progress: AuditProgress = SILENT,
): Promise<AuditReport> {
  return new Audit(source, options, progress).run();
}

class Audit {
  readonly #source: AuditSource;
  readonly #options: AuditOptions;
  readonly #progress: AuditProgress;
  readonly #revocations: Revocations;
  readonly #binding: string;
  readonly #done: InstanceReport[] = [];
  #now: number;
  #saved: AuditState | undefined;
  #lastSave = performance.now();

  constructor(source: AuditSource, options: AuditOptions, progress: AuditProgress) {
    this.#source = source;
    this.#options = options;
    this.#progress = progress;
    this.#revocations = options.revocations ?? NO_REVOCATIONS;
    this.#now = options.context.now;
    this.#binding = this.#bind();
  }

  #bind(): string {
    const { algorithmEnds, context, name, signatures, software, atGivenTime = false } = this.#options;
    const { anchors, collateral, crypto, policy } = context;
    return bindingOf({
      format: STATE_FORMAT,
      software,
      source: this.#source.digest ?? name,
      policy: toHex(policyDigest(policy, crypto)),
      anchors: anchors.map(({ role, spkiSha256 }) => [role, spkiSha256]),
      collateral: toHex(crypto.hash('sha256', encodeDc(encodeCollateral(collateral)))),
      revocations: this.#revocations,
      signatures,
      algorithmEnds,
      at: atGivenTime ? context.now : 'now',
    });
  }

  async run(): Promise<AuditReport> {
    const { stateFile } = this.#options;
    this.#saved = stateFile === undefined ? undefined : await readState(stateFile, this.#binding);
    if (this.#saved) {
      this.#now = this.#saved.now;
      this.#done.push(...this.#saved.done);
    }
    this.#expectBytes();
    const { manifest } = this.#source;
    const findings: PlacedFinding[] = [
      ...(await checkFiles(this.#source, (bytes) => this.#progress.add(bytes))),
    ];
    const instances: ListedInstance[] = [];
    for (const files of await this.#source.instances()) instances.push(await listInstance(files));
    const openings = await readOpenings(instances);
    await this.#auditAll(instances, (origin) => sizesNamed(openings, origin));
    const keysetOf = async (instance: string) => {
      const listed = instances.find(({ files }) => files.instance === instance);
      return listed && firstKeyset(listed);
    };
    const { crypto, policy } = this.#options.context;
    const reports = this.#done;
    findings.push(
      ...(await judgeLine({ openings, reports, isRange: manifest?.range !== undefined, keysetOf, crypto })),
      ...judgeTimes(policy, reports),
      ...(await this.#retention(instances)),
    );
    const renewed = await this.#renewals(instances);
    if (stateFile !== undefined) await removeState(stateFile);
    return this.#report([...findings, ...renewed.findings], renewed.report);
  }

  #expectBytes(): void {
    const files = this.#source.manifest?.files;
    if (!files) return;
    this.#progress.expect(files.reduce((total, { size }) => total + size, 0));
  }

  async #auditAll(
    instances: readonly ListedInstance[],
    namedSizes: (origin: string) => readonly number[],
  ): Promise<void> {
    const { context, workers: count } = this.#options;
    const workers = startWorkers(
      {
        policy: context.policy,
        anchors: context.anchors,
        collateral: encodeDc(encodeCollateral(context.collateral)),
        watchedManifests: watchedManifests(this.#revocations),
        later: laterJudgements(this.#revocations),
      },
      count,
    );
    try {
      for (const listed of instances) {
        const isDone = this.#done.some(({ instance }) => instance === listed.files.instance);
        if (!isDone) this.#done.push(await this.#auditOne(listed, namedSizes(listed.files.origin), workers));
        await this.#save(undefined);
      }
    } finally {
      await workers.close();
    }
  }

  async #auditOne(
    listed: ListedInstance,
    namedSizes: readonly number[],
    workers: ReturnType<typeof startWorkers>,
  ): Promise<InstanceReport> {
    const { instance } = listed.files;
    const { context, atGivenTime = false, signatures } = this.#options;
    const saved = this.#saved?.current?.instance === instance ? this.#saved.current : undefined;
    const findings = new FindingList(
      instance,
      saved?.listed,
      saved?.counts.map(([code, number]) => [code, number]),
    );
    const progress = saved?.progress ?? startProgress();
    // The line of evidence is read anew, so what was found in it is not kept from before.
    if (saved) findings.forget('evidence.line', 'log.checkpoint');
    return auditInstance({
      listed,
      span: spanOf(this.#source.manifest, instance),
      context: { ...context, now: this.#now },
      workers,
      signatures,
      atGivenTime,
      namedSizes,
      findings,
      progress,
      onBundles: async (bytes) => {
        this.#progress.add(bytes);
        const { counts, listed: found } = findings;
        if (performance.now() - this.#lastSave < (this.#options.saveEveryMs ?? SAVE_EVERY_MS)) return;
        await this.#save({ instance, progress, listed: found, counts: [...counts] });
      },
      onDocument: () => undefined,
    });
  }

  async #save(current: AuditState['current']): Promise<void> {
    const { stateFile } = this.#options;
    if (stateFile === undefined) return;
    await writeState(stateFile, {
      format: STATE_FORMAT,
      binding: this.#binding,
      now: this.#now,
      done: this.#done,
      current,
    });
    this.#lastSave = performance.now();
  }

  async #retention(instances: readonly ListedInstance[]): Promise<readonly PlacedFinding[]> {
    const expired = await readExpired(
      instances,
      this.#done.flatMap(({ acts }) => acts),
    );
    return this.#done.flatMap(({ instance, missing }) => {
      const findings = new FindingList(instance);
      const span = spanOf(this.#source.manifest, instance)?.entries;
      judgeMissing(instance, missing, span, expired, findings);
      return findings.listed;
    });
  }

  async #renewals(instances: readonly ListedInstance[]): Promise<JudgedRenewals> {
    const { manifest, shared } = this.#source;
    if (!shared) return { report: undefined, findings: [] };
    return auditRenewals({
      renewals: renewalsOf(shared),
      instances: instances.map(({ files }) => files),
      context: { ...this.#options.context, now: this.#now },
      algorithmEnds: this.#options.algorithmEnds,
      isRange: manifest?.range !== undefined,
      missing: new Map(this.#done.map(({ instance, missing }) => [instance, missing])),
    });
  }

  #report(found: readonly PlacedFinding[], renewals: RenewalReport | undefined): AuditReport {
    const { context, name, signatures } = this.#options;
    const reports = this.#done;
    const findings: Finding[] = [...reports.flatMap((report) => report.findings.listed), ...found];
    const decision = decideAudit(findings, reports);
    const simulated = simulatedIn(reports);
    const { digest, manifest } = this.#source;
    return {
      version: 'vouchsafe/audit/1',
      decision,
      tier: tierOfAudit(decision, findings, simulated),
      simulated,
      source: { name, digest, range: manifest?.range },
      policyDigest: toHex(policyDigest(context.policy, context.crypto)),
      judgedAt: new Date(this.#now).toISOString(),
      signatures,
      totals: totalsOf(reports),
      checks: concludeChecks({
        findings,
        reports,
        signatures,
        policy: context.policy,
        hasManifest: manifest !== undefined,
        renewals,
      }),
      findings,
      findingCounts: countsOf(reports, found),
      knownBad: findKnownBad(this.#revocations, reports),
      instances: reports,
      renewals,
      limits: limitsOf(reports),
    };
  }
}

function spanOf(manifest: ExportManifest | undefined, instance: string): ExportedSpan | undefined {
  const named = manifest?.range && manifest.instances.find((exported) => exported.instance === instance);
  return (
    named && { entries: named.entries ?? [0, -1], documents: named.documents ?? [0, -1], size: named.size }
  );
}
