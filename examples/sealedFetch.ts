import type { Answer, AnswerStream, Session } from '../src/client/index.ts';

/**
 * A `fetch` for an unmodified OpenAI client: each request goes sealed through the session, and the receipt of each
 * answer is judged before the client sees its end. If it is not accepted, the client's call throws.
 */
export function sealedFetch(session: Session, onAnswer: (answer: Answer) => void): typeof fetch {
  return async (input, { body, signal } = {}) => {
    if (input instanceof Request || typeof body !== 'string') {
      throw new TypeError('only requests with an address and a text are sealed');
    }
    const { pathname, search } = new URL(input);
    const stream = await session.stream({ path: pathname + search, body, ...(signal ? { signal } : {}) });
    const content = streamOf(contentOf(session, stream, onAnswer));
    return new Response(content, { status: stream.status, headers: { 'content-type': stream.contentType } });
  };
}

function streamOf(content: AsyncGenerator<Uint8Array, undefined>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await content.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
  });
}

async function* contentOf(
  session: Session,
  stream: AnswerStream,
  onAnswer: (answer: Answer) => void,
): AsyncGenerator<Uint8Array, undefined> {
  // The last chunk, which ends a stream for the client, waits until the receipt is judged.
  let held: Uint8Array | undefined;
  for await (const chunk of stream) {
    if (held) yield event(held);
    held = chunk;
  }
  const answer = await stream.finish();
  // Some errors have no receipt, such as that of a model that is not there.
  if (answer.status === 200) await session.verify(answer);
  onAnswer(answer);
  yield held ? event(held) : answer.body;
  return undefined;
}

function event(data: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('data: '), data, Buffer.from('\n\n')]);
}
