import { ArchiveError } from '../archive/errors.ts';
import type {
  Embeddings,
  GeneratedToken,
  Generation,
  InferOptions,
  LoadedModel,
  ModelRunner,
} from '../engine/engine.ts';
import { EngineError } from '../engine/engine.ts';
import type { AnswerArchive, Voucher } from '../http/vouched.ts';
import { VouchingError } from '../receipts/errors.ts';
import type { HandedModel, Inferred, Issued, Keep, SignerState } from './calls.ts';
import type { Channel } from './channel.ts';

/** What the signing process does, as a process that serves HTTP sees it. */
export class Handing {
  readonly #channel: Channel;
  #state: SignerState;
  #models: ReadonlyMap<string, LoadedModel> = new Map();

  constructor(channel: Channel, state: SignerState) {
    this.#channel = channel;
    this.#state = state;
    this.update(state);
  }

  update(state: SignerState): void {
    this.#state = state;
    this.#models = new Map(state.models.map((model) => [model.id, model]));
  }

  get engine(): ModelRunner {
    const models = (): ReadonlyMap<string, LoadedModel> => this.#models;
    const channel = this.#channel;
    const hand = (id: string, { scope, deadlineMs }: InferOptions = {}): HandedModel => {
      const model = this.#models.get(id);
      if (!model) throw new EngineError('UNKNOWN_MODEL', 'no model has this id');
      return { model: id, manifestDigest: model.manifestDigest, scope, deadlineMs };
    };
    return {
      get models() {
        return models();
      },
      async infer(id, inputs, options = {}) {
        const { signal, onRows } = options;
        const answer = await channel.call('infer', { ...hand(id, options), inputs }, { signal });
        const { outputs, rows } = answer as Inferred;
        if (rows !== undefined) onRows?.(rows);
        return outputs;
      },
      async embed(id, texts, options = {}) {
        const { signal } = options;
        return (await channel.call('embed', { ...hand(id, options), texts }, { signal })) as Embeddings;
      },
      async generate(id, prompt, { signal, scope, deadlineMs, ...options }, onToken) {
        const handed = hand(id, {
          ...(scope !== undefined && { scope }),
          ...(deadlineMs !== undefined && { deadlineMs }),
        });
        return (await channel.call(
          'generate',
          { ...handed, prompt, options },
          {
            signal,
            onEvent: (token) => {
              onToken(token as GeneratedToken);
            },
          },
        )) as Generation;
      },
    };
  }

  /** Content that is kept is durable before its receipt is drafted; the signing process has the archive. */
  get archive(): AnswerArchive {
    const channel = this.#channel;
    const state = (): SignerState => this.#state;
    return {
      keepsContent: true,
      requireContent() {
        const { content } = state();
        if (content) throw new ArchiveError(content, 'content is to be kept and cannot be');
      },
      async keep(content, tenant) {
        await channel.call('keep', { content, tenant } satisfies Keep);
      },
    };
  }

  get vouching(): Voucher {
    const state = (): SignerState => this.#state;
    const channel = this.#channel;
    return {
      get head() {
        return { digest: state().evidence };
      },
      requireIssuing() {
        const { stop } = state();
        if (stop) throw new VouchingError('ISSUING_STOPPED', `${stop.code}: ${stop.reason}`);
      },
      async issue(draft) {
        const { index, encoded, cited } = (await channel.call('issue', draft)) as Issued;
        return { id: draft.id, index, encoded, cited: { digest: cited } };
      },
      async covered(index) {
        await channel.call('covered', index);
      },
    };
  }
}
