import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { Console } from './console.tsx';
import { keepKey, keptKey } from './keptKey.ts';
import { SignIn } from './signIn.tsx';

/** Asks for the admin key, then shows the service. The key stays in the memory of this page, or of this tab. */
export function App(): JSX.Element {
  const [key, setKey] = useState(keptKey);
  const [refusal, setRefusal] = useState<string>();
  const leave = (why?: string): void => {
    keepKey(undefined);
    setKey(undefined);
    setRefusal(why);
  };
  const enter = (entered: string, kept: boolean): void => {
    keepKey(kept ? entered : undefined);
    setRefusal(undefined);
    setKey(entered);
  };
  if (key === undefined) return <SignIn refusal={refusal} onKey={enter} />;
  return <Console apiKey={key} onLeave={leave} />;
}
