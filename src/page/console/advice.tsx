import type { JSX } from 'preact';

/** A sentence in which commands stand between backticks. */
export function Advice({ text }: { readonly text: string }): JSX.Element {
  const parts = text.split('`');
  return <>{parts.map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}
