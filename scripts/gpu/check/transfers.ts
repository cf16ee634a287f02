import type { TensorSpec } from '../../../src/engine/engine.ts';
import type { Transfers } from '../machine/nvidiaSmi.ts';
import type { Finding, Outcome } from './result.ts';

const CACHE = /^past_key_values\.\d+\.(?:key|value)$/;
const BYTES: Readonly<Record<string, number>> = { FP32: 4, FP16: 2 };

/** What one token of a generation weighs. */
export interface TokenBytes {
  /** Keys and values of one token in all layers. */
  readonly cache: number;
  /** Logits of one token: they do travel to the host, where the next token is chosen. */
  readonly logits: number;
}

export function tokenBytes(model: {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}): TokenBytes {
  const caches = model.inputs.filter(({ name }) => CACHE.test(name));
  const cache = caches.reduce((sum, { shape, datatype }) => {
    const [, heads = 0, , width = 0] = shape;
    return sum + Math.max(0, heads) * Math.max(0, width) * (BYTES[datatype] ?? 0);
  }, 0);
  const logits = model.outputs.find(({ name }) => name === 'logits');
  return { cache, logits: Math.max(0, logits?.shape.at(-1) ?? 0) * (BYTES[logits?.datatype ?? ''] ?? 0) };
}

/** A cache that travels must weigh so many times what travels anyway, or the counters cannot tell the two apart. */
const DISTINCT = 4;

export interface TransferSample {
  readonly model: string;
  readonly bytes: TokenBytes;
  readonly loaded: Transfers | undefined;
  readonly idle: Transfers | undefined;
  readonly tokensPerSecond: number;
  readonly meanLength: number;
}

/**
 * Judges what the device sent to the host for each token. A cache in the host's memory would be sent whole with every
 * step, so about `meanLength` tokens of it for each new one; logits are sent in any case.
 */
export function judgeTransfers(sample: TransferSample): Finding {
  const { bytes, loaded, idle, tokensPerSecond, meanLength } = sample;
  const finding = (outcome: Outcome, detail: string): Finding => ({
    model: sample.model,
    check: 'cache stays on the device',
    outcome,
    detail,
  });
  if (!loaded) return finding('skip', 'the counters of PCIe traffic cannot be read here');
  if (!(tokensPerSecond > 0)) return finding('skip', 'no token was generated');
  const sent = Math.max(0, loaded.sent - (idle?.sent ?? 0)) / tokensPerSecond;
  const travelling = bytes.cache * meanLength;
  const seen = `${whole(sent)} bytes a token to the host; logits are ${whole(bytes.logits)}, a cache that travels ${whole(travelling)}`;
  if (bytes.cache === 0 || bytes.logits === 0)
    return finding('skip', `${seen}: the model does not state both`);
  if (travelling < DISTINCT * bytes.logits) return finding('skip', `${seen}: too alike to tell apart`);
  return finding(sent < (bytes.logits + travelling) / 2 ? 'pass' : 'fail', seen);
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-GB');
