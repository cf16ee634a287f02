import type { Logger } from 'winston';
import type { Config } from '../config/schema.ts';
import { Anchoring, type AnchoringEvent } from '../receipts/anchoring.ts';
import type { ReceiptLog } from '../receipts/log.ts';
import { TimestampClient } from '../receipts/timestampClient.ts';
import { makeWitnessClient } from './client.ts';

/** Those outside who are to confirm heads of the log, as the configuration names them. */
export function configuredAnchoring(
  { witnesses, timestamps }: Pick<Config, 'witnesses' | 'timestamps'>,
  receiptLog: Pick<ReceiptLog, 'consistencyProof' | 'writeAnchor'>,
  log: Logger,
  now: () => number,
): Anchoring {
  return new Anchoring({
    outsiders: [
      ...witnesses.list.map((witness) => makeWitnessClient(witness, receiptLog)),
      ...timestamps.authorities.map((url) => new TimestampClient(url)),
    ],
    log: receiptLog,
    now,
    onEvent: (event) => {
      report(log, event);
    },
  });
}

function report(log: Logger, { kind, anchorAgeMs, ...fields }: AnchoringEvent): void {
  const anchor_age_seconds = anchorAgeMs === undefined ? 'no anchor yet' : Math.round(anchorAgeMs / 1000);
  log.log(kind === 'recovered' ? 'info' : 'warn', `anchoring: ${kind}`, { ...fields, anchor_age_seconds });
}
