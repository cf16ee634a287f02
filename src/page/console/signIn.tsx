import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiFailure, ConsoleApi } from './api.ts';

interface SignInProps {
  /** Why the former key is of no use any more. */
  readonly refusal: string | undefined;
  readonly onKey: (key: string, kept: boolean) => void;
}

/** What `auth.ts` of the service takes for a key: visible ASCII. */
const KEY = /^[\x21-\x7e]{1,512}$/;
const UNFIT = 'A key has 1 to 512 visible ASCII characters and no spaces.';

export function SignIn({ refusal, onKey }: SignInProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const kept = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState(refusal);
  const [asking, setAsking] = useState(false);
  useEffect(() => input.current?.focus(), []);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const key = (input.current?.value ?? '').trim();
    if (asking) return;
    if (!KEY.test(key)) {
      setProblem(UNFIT);
      return;
    }
    setAsking(true);
    const failure = await tryKey(key);
    setAsking(false);
    setProblem(failure?.message);
    if (failure) input.current?.focus();
    else onKey(key, kept.current?.checked ?? false);
  };
  return (
    <main class="sign-in">
      <h1>Vouchsafe console</h1>
      <p>
        How this service stands: evidence, alarms, requests, receipts without content. It is read and nothing
        is changed.
      </p>
      <form onSubmit={(event) => void submit(event)}>
        <label for="key">Admin key</label>
        <input
          ref={input}
          id="key"
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-invalid={problem !== undefined}
          aria-describedby="problem"
        />
        <label class="choice">
          <input ref={kept} type="checkbox" id="kept" />
          Keep it until this tab is closed
        </label>
        <button type="submit" disabled={asking}>
          {asking ? 'Asking…' : 'Open'}
        </button>
        <p id="problem" class="problem" role="alert">
          {problem}
        </p>
      </form>
    </main>
  );
}

async function tryKey(key: string): Promise<ApiFailure | undefined> {
  try {
    await new ConsoleApi(key).status();
    return undefined;
  } catch (error) {
    if (error instanceof ApiFailure) return error;
    throw error;
  }
}
