// What runs in the page: npm `openai`, unmodified, over a session that judged the service first.
import OpenAI from 'openai';
import {
  ClientError,
  connect,
  IndexedDbReceiptStore,
  SIMULATED_POLICY,
  type Session,
} from '../src/client/index.ts';

function element(selector: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/** Errors of the client keep their code and advice under what npm `openai` makes of them. */
function explain(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof ClientError ? error.cause : error;
  if (cause instanceof ClientError) return `${cause.code}: ${cause.message} ${cause.advice}`;
  return cause instanceof Error ? cause.message : 'an unknown error';
}

async function start(): Promise<void> {
  const store = await IndexedDbReceiptStore.open();
  const session = await connect(location.origin, {
    policy: SIMULATED_POLICY,
    store,
    onVerdict: ({ decision, simulated }) => {
      const warning =
        simulated.length > 0 ? `, but the ${simulated.join(' and ')} are SIMULATED: proves nothing` : '';
      element('#evidence').textContent = `Evidence ${decision}${warning}`;
    },
    onReceipt: ({ verdict, receipt }) => {
      element('#receipt').textContent = `Receipt ${verdict.decision}: ${receipt?.claims.model ?? ''}`;
    },
  });
  const form = element('form') as HTMLFormElement;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const prompt = new FormData(form).get('prompt');
    ask(session, typeof prompt === 'string' ? prompt : '').catch((error: unknown) => {
      element('#receipt').textContent = explain(error);
    });
  });
  element('button').removeAttribute('disabled');
}

async function ask({ fetch, baseURL }: Session, prompt: string): Promise<void> {
  const reply = element('#reply');
  reply.textContent = '';
  element('#receipt').textContent = '';
  // The page holds no key: the service asks for none on loopback.
  const client = new OpenAI({ fetch, baseURL, apiKey: 'none', dangerouslyAllowBrowser: true, maxRetries: 0 });
  const settings = { model: 'tinygpt-1m', max_tokens: 24, temperature: 0, stream: true } as const;
  for await (const { choices } of await client.completions.create({ ...settings, prompt })) {
    reply.append(choices[0]?.text ?? '');
  }
}

start().catch((error: unknown) => {
  element('#evidence').textContent = explain(error);
});
