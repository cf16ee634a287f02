import type { Logger } from 'winston';
import type { Config } from '../config/schema.ts';
import { type ModelSource, readStore } from '../models/store.ts';
import type { Engine } from './engine.ts';
import { startEngine } from './host.ts';
import type { EngineEvent, EngineOptions } from './options.ts';

/** Gives the data key of a sealed model to this instance. */
export type DataKeySource = NonNullable<EngineOptions['dataKey']>;

/** The engine with the models of the store. */
export interface ConfiguredEngine {
  readonly engine: Engine;
  /**
   * Loads the sealed models. Called once this instance can attest, before it serves: only then does anybody release
   * a key to it. Throws `ModelError`.
   */
  openSealed(dataKey: DataKeySource): Promise<void>;
}

/** Starts the engine over the models of the store that lie in clear. Throws `ModelError` or `EngineError`. */
export async function configuredEngine(
  config: Config,
  { log, childEntry }: { readonly log: Logger; readonly childEntry: URL },
): Promise<ConfiguredEngine> {
  const { models, refused } = await readStore(config.models.directory, config.models.signing);
  const [refusal] = refused;
  if (refusal) throw refusal;
  if (models.length === 0) log.warn('the model store is empty', { directory: config.models.directory });
  const isSealed = ({ sealed }: ModelSource): boolean => sealed !== undefined;
  let source: DataKeySource = () => Promise.reject(new Error('this instance cannot attest yet'));
  const { provider, threads, batchRows, batchDelayMs, device, deviceMemoryBytes, ...caches } = config.engine;
  const engine = await startEngine({
    models: models.filter((model) => !isSealed(model)),
    provider,
    childEntry,
    ...(threads > 0 && { threads }),
    tuning: { ...caches, tensorRows: batchRows, tensorDelayMs: batchDelayMs, device, deviceMemoryBytes },
    onEvent: (event) => {
      logEngineEvent(log, event);
    },
    dataKey: (model) => source(model),
  });
  return {
    engine,
    openSealed: async (dataKey) => {
      source = dataKey;
      for (const model of models.filter(isSealed)) await engine.load(model);
    },
  };
}

function logEngineEvent(log: Logger, { kind, ...fields }: EngineEvent): void {
  const severity = kind === 'died' || kind === 'refused' ? 'warn' : 'info';
  log.log(severity, `engine: ${kind}`, fields);
}
