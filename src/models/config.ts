import { z } from 'zod';
import { PromptTemplate } from './chatTemplate.ts';
import { FileRefused } from './errors.ts';
import type { FileRole } from './store.ts';

/** Longest sequence where no file states one: the context of BERT. */
const FALLBACK_MAX_TOKENS = 512;
/** Tokenizers write 10^30 for «no limit». */
const NO_LIMIT = 10_000_000;

/** What the text files of a model say. */
export interface ModelConfig {
  /** Most tokens of one sequence. */
  readonly maxTokens: number;
  /** Length of a hidden state; undefined where not stated. */
  readonly hiddenSize: number | undefined;
  /** Tokens that end a generation. */
  readonly endTokens: ReadonlySet<number>;
  readonly chatTemplate: string | undefined;
  /** What `generation_config.json` says of sampling; undefined where it does not want any. */
  readonly sampling:
    { readonly temperature: number; readonly topP: number; readonly topK: number } | undefined;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** Parsed `tokenizer.json` and `tokenizer_config.json`; undefined where the model has no tokenizer. */
  readonly tokenizer: { readonly json: object; readonly config: object } | undefined;
}

const tokenIds = z.union([z.int().min(0), z.array(z.int().min(0)).max(64)]).nullish();
const tokenText = z.union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)]).nullish();
const limit = z.number().positive().nullish();

const CONFIG = z.object({
  max_position_embeddings: limit,
  n_positions: limit,
  n_ctx: limit,
  hidden_size: limit,
  n_embd: limit,
  eos_token_id: tokenIds,
});
const GENERATION_CONFIG = z.object({
  eos_token_id: tokenIds,
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
});
const TOKENIZER_CONFIG = z.looseObject({
  model_max_length: limit,
  bos_token: tokenText,
  eos_token: tokenText,
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish(),
});
const TOKENIZER = z.looseObject({
  model: z.looseObject({}),
  added_tokens: z.array(z.looseObject({ id: z.int().min(0), content: z.string() })),
});

/** Reads the text files of a model from the buffers that are hashed. Refusals name the role's file. */
export function readConfig(files: ReadonlyMap<FileRole, Uint8Array>): ModelConfig {
  const config = parse(files, 'config', CONFIG) ?? {};
  const generation = parse(files, 'generation-config', GENERATION_CONFIG) ?? {};
  const tokenizerConfig = parse(files, 'tokenizer-config', TOKENIZER_CONFIG) ?? {};
  const tokenizer = parse(files, 'tokenizer', TOKENIZER);
  const limits = [config.max_position_embeddings, config.n_positions, config.n_ctx, tokenizerConfig.model_max_length];
  return {
    maxTokens: smallest(limits) ?? FALLBACK_MAX_TOKENS,
    hiddenSize: config.hidden_size ?? config.n_embd ?? undefined,
    endTokens: new Set([generation.eos_token_id ?? config.eos_token_id ?? []].flat()),
    chatTemplate: readTemplate(files, tokenizerConfig.chat_template),
    sampling: samplingOf(generation),
    bosToken: tokenizerConfig.bos_token ?? undefined,
    eosToken: tokenizerConfig.eos_token ?? undefined,
    tokenizer: tokenizer && { json: tokenizer, config: tokenizerConfig },
  };
}

/** What Hugging Face's libraries take where `do_sample` is set and nothing else. */
const SAMPLING = { temperature: 1, topP: 1, topK: 50 };

/** As Hugging Face's libraries read it: without `do_sample` a model is greedy, whatever else is stated. */
function samplingOf(stated: z.infer<typeof GENERATION_CONFIG>): ModelConfig['sampling'] {
  if (stated.do_sample !== true) return undefined;
  return {
    temperature: stated.temperature ?? SAMPLING.temperature,
    topP: stated.top_p ?? SAMPLING.topP,
    topK: stated.top_k ?? SAMPLING.topK,
  };
}

function smallest(limits: readonly (number | null | undefined)[]): number | undefined {
  const stated = limits.filter((value) => typeof value === 'number' && value < NO_LIMIT);
  return stated.length === 0 ? undefined : Math.floor(Math.min(...stated.map(Number)));
}

type StatedTemplates = z.infer<typeof TOKENIZER_CONFIG>['chat_template'];

/** The template of its own file, else the one of the tokenizer. */
function readTemplate(files: ReadonlyMap<FileRole, Uint8Array>, stated: StatedTemplates): string | undefined {
  const own = text(files.get('template'), 'template');
  if (own !== undefined) return requireTemplate(own, 'template');
  const fallback = defaultTemplate(stated);
  return fallback === undefined ? undefined : requireTemplate(fallback, 'tokenizer-config');
}

function defaultTemplate(stated: StatedTemplates): string | undefined {
  if (typeof stated === 'string') return stated;
  return stated?.find((entry) => entry.name === 'default')?.template;
}

/** A refusal that knows its role; the caller knows the path. */
export class ConfigRefused extends FileRefused {
  readonly role: FileRole;

  constructor(role: FileRole, detail: string) {
    super('FILE_MALFORMED', detail);
    this.name = 'ConfigRefused';
    this.role = role;
  }
}

/** A chat template that cannot be read is found at load, not at the first chat. */
function requireTemplate(source: string, role: FileRole): string {
  try {
    new PromptTemplate(source);
    return source;
  } catch {
    throw new ConfigRefused(role, 'has a chat template that is no Jinja template');
  }
}

function text(bytes: Uint8Array | undefined, role: FileRole): string | undefined {
  if (bytes === undefined) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigRefused(role, 'is no UTF-8 text');
  }
}

function parse<T>(files: ReadonlyMap<FileRole, Uint8Array>, role: FileRole, schema: z.ZodType<T>): T | undefined {
  const source = text(files.get(role), role);
  if (source === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    throw new ConfigRefused(role, 'is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ConfigRefused(role, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
}
