import { availableParallelism } from 'node:os';
import process from 'node:process';
import type { Engine, LoadedModel } from '../../../src/engine/engine.ts';
import { startEngine } from '../../../src/engine/host.ts';
import type { ModelSource } from '../../../src/models/store.ts';
import { parseManifest } from '../../../src/replay/manifest.ts';
import { NvidiaSmi, type Transfers } from '../machine/nvidiaSmi.ts';
import { type Answers, answersOf, type Workload, workloadFor } from './answers.ts';
import { compareAnswers } from './compare.ts';
import { determinismOf } from './determinism.ts';
import { Journal } from './journal.ts';
import { MemoryWatch } from './memoryWatch.ts';
import type { Report } from './result.ts';
import { embedFor, generateFor, prefill, type SpeedSettings } from './speed.ts';
import { toleranceOf } from './tolerance.ts';
import { judgeTransfers, tokenBytes } from './transfers.ts';

export interface CheckSettings extends SpeedSettings {
  readonly provider: 'cpu' | 'cuda';
  readonly models: readonly ModelSource[];
  /** Compiled `child.js`. */
  readonly childEntry: URL;
  readonly device: number;
  readonly threads: number;
  /** Most bytes of one model's caches. */
  readonly cacheBytes: number;
  readonly nvidiaSmi: string | undefined;
  readonly pack: string | undefined;
  /** Called with each step and what is known by then. */
  readonly onStep: (step: string, report: Report) => void;
}

/** What the reference answered. */
interface Reference {
  readonly workload: Workload;
  readonly answers: Answers;
  readonly loadMs: number;
}

const IDLE_SECONDS = 4;

/** Runs everything, the reference first, in a process of its own that is gone before the other one starts. */
export async function runCheck(settings: CheckSettings): Promise<Report> {
  const smi = new NvidiaSmi(settings.device, settings.nvidiaSmi);
  const journal = new Journal({
    provider: settings.provider,
    node: process.version,
    cores: availableParallelism(),
    pack: settings.pack,
    gpu: await smi.facts(),
  });
  const check = new Check(settings, smi, journal);
  const references = await check.reference();
  await check.provider(references);
  return journal.report(true);
}

class Check {
  readonly #settings: CheckSettings;
  readonly #smi: NvidiaSmi;
  readonly #journal: Journal;

  constructor(settings: CheckSettings, smi: NvidiaSmi, journal: Journal) {
    this.#settings = settings;
    this.#smi = smi;
    this.#journal = journal;
  }

  /** Answers of the CPU to what is asked of each model. */
  async reference(): Promise<ReadonlyMap<string, Reference>> {
    const references = new Map<string, Reference>();
    const engine = await this.#start('cpu');
    try {
      for (const source of this.#settings.models) {
        await this.#try(source.id, 'reference', async () => {
          const { model, loadMs } = await load(engine, source);
          const workload = await workloadFor(engine, model);
          references.set(source.id, {
            workload,
            answers: await answersOf(engine, source.id, workload),
            loadMs,
          });
          await engine.unload(source.id);
        });
      }
    } finally {
      await engine.close();
    }
    return references;
  }

  /** Everything on the provider that is checked, one model after the other. */
  async provider(references: ReadonlyMap<string, Reference>): Promise<void> {
    const engine = await this.#start(this.#settings.provider);
    const memory = new MemoryWatch(this.#smi, () => engine.health().pid);
    try {
      for (const source of this.#settings.models) {
        const reference = references.get(source.id);
        if (reference) await this.#model(engine, memory, source, reference);
      }
    } finally {
      await engine.close();
    }
  }

  async #model(
    engine: Engine,
    memory: MemoryWatch,
    source: ModelSource,
    reference: Reference,
  ): Promise<void> {
    const { id } = source;
    const record = async (when: string): Promise<void> =>
      this.#journal.measured(await memory.figures(id, when));
    await record('before loading');
    const model = await this.#try(id, 'load', () => this.#load(engine, source, reference.loadMs));
    if (!model) return;
    await record('loaded');
    await this.#try(id, 'correctness', () => this.#correctness(engine, source, model, reference));
    await this.#try(id, 'speed', () => this.#speed(engine, memory, model));
    await record('after load');
    await this.#try(id, 'unload', () => engine.unload(id));
  }

  async #load(engine: Engine, source: ModelSource, referenceLoadMs: number): Promise<LoadedModel> {
    const { model, loadMs } = await load(engine, source);
    const { providers, tasks, id } = model;
    const manifest = parseManifest(model.manifest);
    const options = Object.fromEntries(manifest.options);
    const runtime = `${manifest.engine.name} ${manifest.engine.version}`;
    this.#journal.loaded({ model: id, runtime, providers, tasks, options, referenceLoadMs, loadMs });
    const wanted = this.#settings.provider === 'cuda' ? 'CUDAExecutionProvider' : 'CPUExecutionProvider';
    const outcome = providers.join() === wanted ? 'pass' : 'fail';
    this.#journal.found([{ model: id, check: 'provider', outcome, detail: providers.join(', ') }]);
    return model;
  }

  async #correctness(
    engine: Engine,
    { id, files }: ModelSource,
    model: LoadedModel,
    { workload, answers }: Reference,
  ): Promise<void> {
    const paths = files.map(({ path }) => path);
    const tolerance = toleranceOf(model, paths, this.#settings.provider);
    const own = await answersOf(engine, id, workload);
    const compared = compareAnswers(id, answers, own, tolerance);
    this.#journal.found(compared);
    if (!compared.some(({ outcome }) => outcome === 'pass')) {
      this.#journal.found([
        { model: id, check: 'compared', outcome: 'fail', detail: 'nothing of this model' },
      ]);
    }
    this.#step(`${id}: the same again, alone and in company`);
    this.#journal.found(await determinismOf(engine, id, workload, own));
  }

  async #speed(engine: Engine, memory: MemoryWatch, model: LoadedModel): Promise<void> {
    const { seconds } = this.#settings;
    if (model.tasks.includes('embed')) this.#journal.measured(await embedFor(engine, model.id, seconds));
    if (!model.tasks.includes('generate')) return;
    this.#journal.measured([await prefill(engine, model)]);
    const idle = await this.#idleTransfers();
    for (const streams of this.#settings.streams) {
      this.#step(`${model.id}: ${streams} streams`);
      memory.begin();
      const watch = this.#onDevice ? this.#smi.watchTransfers(this.#settings.seconds) : undefined;
      const { figures, tokensPerSecond, meanLength } = await generateFor(
        engine,
        model,
        streams,
        this.#settings,
      );
      const loaded = await watch?.result();
      this.#journal.measured(figures);
      this.#journal.measured(await memory.end(model.id, `peak at ${streams} streams`));
      if (!this.#onDevice) continue;
      const sample = { model: model.id, bytes: tokenBytes(model), loaded, idle, tokensPerSecond, meanLength };
      const judged = judgeTransfers(sample);
      this.#journal.found([{ ...judged, check: `${judged.check}, ${streams} streams` }]);
    }
  }

  get #onDevice(): boolean {
    return this.#settings.provider === 'cuda';
  }

  /** What crosses PCIe when nothing is asked. */
  async #idleTransfers(): Promise<Transfers | undefined> {
    return this.#onDevice ? this.#smi.watchTransfers(IDLE_SECONDS).result() : undefined;
  }

  async #start(provider: 'cpu' | 'cuda'): Promise<Engine> {
    const { childEntry, threads, device, streams, cacheBytes } = this.#settings;
    this.#step(`starting the engine on ${provider}`);
    const tuning = { device, sequences: Math.max(1, ...streams), cacheBytes };
    return startEngine({ models: [], provider, childEntry, threads, tuning });
  }

  /** What fails is a finding, and the rest goes on: time on such a machine is dear. */
  async #try<T>(model: string, check: string, attempt: () => Promise<T>): Promise<T | undefined> {
    this.#step(`${model}: ${check}`);
    try {
      return await attempt();
    } catch (error) {
      const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      this.#journal.found([{ model, check, outcome: 'fail', detail }]);
      return undefined;
    }
  }

  #step(step: string): void {
    this.#settings.onStep(step, this.#journal.report(false));
  }
}

async function load(
  engine: Engine,
  source: ModelSource,
): Promise<{ readonly model: LoadedModel; readonly loadMs: number }> {
  const started = performance.now();
  const model = await engine.load(source);
  return { model, loadMs: performance.now() - started };
}
