import type { Service } from '../service.ts';
import { type Alarm, alarmsOf } from './alarms.ts';
import { type EvidenceHardware, hardwareOfHead } from './hardware.ts';
import { readState, type ServiceState } from './state.ts';

/** `GET /v1/console/status`. Times are seconds since 1970 by the clock of the service. */
export interface ConsoleStatus extends ServiceState {
  readonly format: 'vouchsafe/console/1';
  /** The gravest first. */
  readonly alarms: readonly Alarm[];
  /** Null where no document was good yet. */
  readonly machine: EvidenceHardware | null;
  /** The last evidence documents that were seen, oldest first. */
  readonly documents: readonly {
    readonly seq: number;
    readonly digest: string;
    readonly collected_at: number;
    readonly log_size: number;
  }[];
}

export function consoleStatus(service: Service): ConsoleStatus {
  const { vouching, monitor } = service;
  monitor.look();
  const state = readState(service);
  return {
    format: 'vouchsafe/console/1',
    ...state,
    alarms: alarmsOf(state),
    machine: vouching.hasHead ? hardwareOfHead(vouching.head) : null,
    documents: monitor.documents.map(({ seq, digest, collectedAt, logSize }) => ({
      seq,
      digest,
      collected_at: collectedAt / 1000,
      log_size: logSize,
    })),
  };
}
