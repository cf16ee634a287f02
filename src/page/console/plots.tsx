import type { JSX } from 'preact';
import { Plot } from './plot.tsx';
import type { Sample } from './report.ts';
import { clock } from './words.ts';

interface PlotsProps {
  readonly samples: readonly Sample[];
  /** Requests that may have a place at once. */
  readonly places: number;
}

/** The last hour: how much, how fast, how full. */
export function Plots({ samples, places }: PlotsProps): JSX.Element {
  const column = (read: (sample: Sample) => number | null): readonly (number | null)[] => samples.map(read);
  const times = samples.map(({ time }) => time);
  const first = samples[0];
  const last = samples.at(-1);
  return (
    <section aria-labelledby="plots">
      <h2 id="plots">Last hour</h2>
      <p class="quiet">
        {first && last
          ? `${clock(first.time, last.time)} to ${clock(last.time, last.time)}, inference requests only.`
          : 'The first sample comes within seconds.'}
      </p>
      <div class="plots">
        <Plot
          title="Throughput"
          unit="/s"
          times={times}
          lines={[
            { label: 'answers', values: column(({ requests }) => requests) },
            { label: 'failed (5xx)', values: column(({ failures }) => failures) },
          ]}
        />
        <Plot
          title="Latency"
          unit="ms"
          times={times}
          lines={[
            { label: 'half within', values: column((sample) => sample.p50_ms) },
            { label: '99 % within', values: column((sample) => sample.p99_ms) },
          ]}
        />
        <Plot
          title={`Queue (${places} places)`}
          unit=""
          times={times}
          lines={[
            { label: 'inside', values: column(({ inside }) => inside) },
            { label: 'waiting', values: column(({ waiting }) => waiting) },
          ]}
        />
        <Plot
          title="Tokens"
          unit="/s"
          times={times}
          lines={[
            { label: 'completion', values: column((sample) => sample.completion_tokens) },
            { label: 'prompt', values: column((sample) => sample.prompt_tokens) },
          ]}
        />
      </div>
    </section>
  );
}
