import type { Generation } from '../engine/engine.ts';
import type { Chunk, EventStream } from './eventStream.ts';
import { type ResponseForm, statusOf, textPart } from './responseForm.ts';

/**
 * The events of a streamed response. They begin with the first text, so that what is refused before is a plain error.
 * The one that ends the response is held until the receipt is durable.
 */
export class ResponseEvents {
  readonly #stream: EventStream;
  readonly #form: ResponseForm;
  readonly #texts: string[] = [];
  #sequence = 0;

  constructor(stream: EventStream, form: ResponseForm) {
    this.#stream = stream;
    this.#form = form;
    stream.failWith((error) => this.#chunk('response.failed', { response: form.failed(error) }));
  }

  text(delta: string): void {
    this.#begin();
    this.#texts.push(delta);
    this.#send('response.output_text.delta', { ...this.#place(), delta, logprobs: [] });
  }

  end(generation: Generation): void {
    this.#begin();
    const text = this.#texts.join('');
    const status = statusOf(generation.finishReason);
    const part = textPart(text);
    this.#send('response.output_text.done', { ...this.#place(), text, logprobs: [] });
    this.#send('response.content_part.done', { ...this.#place(), part });
    const item = this.#form.item(status, [part]);
    this.#send('response.output_item.done', { output_index: 0, item });
    this.#stream.endWith(this.#chunk(`response.${status}`, { response: this.#form.ended(text, generation) }));
  }

  #begin(): void {
    if (this.#sequence > 0) return;
    const response = this.#form.begun();
    this.#send('response.created', { response });
    this.#send('response.in_progress', { response });
    const item = this.#form.item('in_progress', []);
    this.#send('response.output_item.added', { output_index: 0, item });
    this.#send('response.content_part.added', { ...this.#place(), part: textPart('') });
  }

  /** The one text of the one message. */
  #place(): object {
    return { item_id: this.#form.itemId, output_index: 0, content_index: 0 };
  }

  #send(type: string, members: object): void {
    const { text } = this.#chunk(type, members);
    this.#stream.data(text, type);
  }

  #chunk(type: string, members: object): Chunk {
    const text = JSON.stringify({ type, sequence_number: this.#sequence, ...members });
    this.#sequence++;
    return { text, event: type };
  }
}
