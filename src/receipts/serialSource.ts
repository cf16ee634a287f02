import type { EvidenceSource } from './evidence.ts';

/** The calls that reach hardware. */
type HardwareCalls = Pick<EvidenceSource, 'collectDevices' | 'collectCpu' | 'bootLog'>;

/**
 * The same hardware for several who ask it: of their calls one is under way at a time, in the order in which they came.
 * Collectors take no two at once.
 */
export function serialSource<Source extends HardwareCalls>(source: Source): Source {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(call: () => Promise<T>): Promise<T> => {
    const turn = last.then(call, call);
    last = turn;
    return turn;
  };
  const { bootLog } = source;
  return {
    ...source,
    collectDevices: (nonce) => inTurn(() => source.collectDevices(nonce)),
    collectCpu: (reportData) => inTurn(() => source.collectCpu(reportData)),
    ...(bootLog && { bootLog: () => inTurn(() => bootLog.call(source)) }),
  };
}
