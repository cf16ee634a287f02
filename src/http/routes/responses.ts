import type { Generation } from '../../engine/engine.ts';
import { chatTemplateOf } from '../chatPrompt.ts';
import { recordShape } from '../chatShape.ts';
import { countUsage, generateChoices, type Prompt } from '../choices.ts';
import { type Body, invalid, recordGeneration } from '../generationSettings.ts';
import { type Call, type InferenceRoute, nameInBody } from '../inference.ts';
import { ResponseEvents } from '../responseEvents.ts';
import { ResponseForm } from '../responseForm.ts';
import { readResponseRequest, type ResponseRequest } from '../responseRequest.ts';

/** `POST /v1/responses` of OpenAI's API: text in, text out, and nothing kept. */
export const RESPONSES: InferenceRoute<Body> = {
  dialect: 'openai',
  name: nameInBody,
  answer(call) {
    const { input, model } = call;
    const write = chatTemplateOf(model);
    const request = readResponseRequest(input, model);
    const prompt = { text: writePrompt(write, request), templated: true };
    recordGeneration(call, request.settings);
    recordShape(call, { response_format: request.format.response_format });
    const form = new ResponseForm(call, request);
    return request.settings.stream
      ? streamResponse(call, prompt, request, form)
      : collectResponse(call, prompt, request, form);
  },
};

/** What a template raises may quote the conversation; its messages are the input here. */
function writePrompt(write: ReturnType<typeof chatTemplateOf>, { messages }: ResponseRequest): string {
  try {
    return write(messages, []);
  } catch {
    throw invalid('input', 'the chat template of the model does not take this input');
  }
}

async function collectResponse(
  call: Call<Body>,
  prompt: Prompt,
  { settings }: ResponseRequest,
  form: ResponseForm,
): Promise<Uint8Array> {
  const texts: string[] = [];
  const listener = {
    piece: (_choice: number, { text }: { text: string }) => texts.push(text),
    end: () => undefined,
  };
  const generations = await generateChoices(call, [prompt], settings, listener);
  countUsage(call, generations, settings);
  return Buffer.from(JSON.stringify(form.ended(texts.join(''), lastOf(generations))));
}

async function streamResponse(
  call: Call<Body>,
  prompt: Prompt,
  { settings }: ResponseRequest,
  form: ResponseForm,
): Promise<undefined> {
  const events = new ResponseEvents(call.stream, form);
  const listener = {
    piece: (_choice: number, { text }: { text: string }): void => {
      events.text(text);
    },
    end: () => undefined,
  };
  const generations = await generateChoices(call, [prompt], settings, listener);
  countUsage(call, generations, settings);
  events.end(lastOf(generations));
}

/** The only one: a response has one answer. */
function lastOf(generations: readonly Generation[]): Generation {
  const generation = generations.at(-1);
  if (!generation) throw new Error('a generation is missing');
  return generation;
}
