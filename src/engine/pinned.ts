import { EngineError, type InferOptions, type LoadedModel, type ModelRunner } from './engine.ts';

type Common = Required<Pick<InferOptions, 'scope' | 'onRows'>>;

/**
 * The engine for one admitted request. Its receipt states the manifest of the model that was named at admission: where
 * that model was unloaded or loaded anew since, a call is refused rather than run with other weights. Every
 * call has the options that are common to all of the request.
 */
export function pinEngine(engine: ModelRunner, model: LoadedModel, common: Common): ModelRunner {
  const requireSame = (id: string): void => {
    if (id !== model.id || engine.models.get(id) !== model) {
      throw new EngineError('MODEL_REFUSED', 'the model was unloaded after the request was admitted');
    }
  };
  return {
    models: engine.models,
    infer: async (id, values, options) => {
      requireSame(id);
      return engine.infer(id, values, { ...options, ...common });
    },
    embed: async (id, values, options) => {
      requireSame(id);
      return engine.embed(id, values, { ...options, ...common });
    },
    generate: async (id, prompt, options, onToken) => {
      requireSame(id);
      return engine.generate(id, prompt, { ...options, scope: common.scope }, onToken);
    },
  };
}
