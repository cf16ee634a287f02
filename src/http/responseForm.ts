import type { Generation } from '../engine/engine.ts';
import type { ServiceError } from './errors.ts';
import type { Call } from './inference.ts';
import type { ResponseRequest } from './responseRequest.ts';

type Status = 'in_progress' | 'completed' | 'incomplete' | 'failed';

/** How `/v1/responses` writes an answer: a response that has one message of one text. */
export class ResponseForm {
  readonly itemId: string;
  readonly #head: object;
  readonly #settings: object;

  constructor({ receiptId, model }: Pick<Call<unknown>, 'receiptId' | 'model'>, request: ResponseRequest) {
    const { instructions, maxOutputTokens, metadata, format, settings } = request;
    const { temperature, topP } = settings.sampling;
    this.itemId = `msg_${receiptId}`;
    const created_at = Math.floor(Date.now() / 1000);
    this.#head = { id: `resp_${receiptId}`, object: 'response', created_at, model: model.id };
    this.#settings = {
      instructions,
      max_output_tokens: maxOutputTokens,
      metadata,
      parallel_tool_calls: false,
      previous_response_id: null,
      store: false,
      temperature,
      text: { format: format.stated },
      tool_choice: 'none',
      tools: [],
      top_p: topP,
      truncation: 'disabled',
    };
  }

  /** A response before its end. */
  begun(): object {
    return this.#response('in_progress', []);
  }

  ended(text: string, { finishReason, promptTokens, completionTokens }: Generation): object {
    const status = statusOf(finishReason);
    return this.#response(status, [this.item(status, [textPart(text)])], {
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      usage: {
        input_tokens: promptTokens,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: completionTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: promptTokens + completionTokens,
      },
    });
  }

  /** The codes of this API are few; ours is in the text. */
  failed({ code, message, advice }: ServiceError): object {
    const error = { code: 'server_error', message: `${code}: ${message}. ${advice}` };
    return this.#response('failed', [], { error });
  }

  item(status: Status, content: readonly object[]): object {
    return { id: this.itemId, type: 'message', role: 'assistant', status, content };
  }

  #response(status: Status, output: readonly object[], more: object = {}): object {
    const unknown = { error: null, incomplete_details: null, usage: null };
    return { ...this.#head, status, ...unknown, ...this.#settings, output, ...more };
  }
}

export function textPart(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] };
}

export function statusOf(finishReason: Generation['finishReason']): 'completed' | 'incomplete' {
  return finishReason === 'length' ? 'incomplete' : 'completed';
}
