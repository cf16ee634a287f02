import { type Engine, EngineError, type LoadedModel } from './engine.ts';

/**
 * The engine for one admitted request. Its receipt states the manifest of the model that was named at admission: where
 * that model was unloaded or loaded anew since, a call is refused rather than run with other weights.
 */
export function pinEngine(engine: Engine, model: LoadedModel): Engine {
  const requireSame = (id: string): void => {
    if (id !== model.id || engine.models.get(id) !== model) {
      throw new EngineError('MODEL_REFUSED', 'the model was unloaded after the request was admitted');
    }
  };
  return {
    models: engine.models,
    changing: engine.changing,
    health: () => engine.health(),
    infer: async (id, ...rest) => {
      requireSame(id);
      return engine.infer(id, ...rest);
    },
    embed: async (id, ...rest) => {
      requireSame(id);
      return engine.embed(id, ...rest);
    },
    generate: async (id, ...rest) => {
      requireSame(id);
      return engine.generate(id, ...rest);
    },
    load: (source) => engine.load(source),
    unload: (id) => engine.unload(id),
    close: () => engine.close(),
  };
}
