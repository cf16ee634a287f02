import { CliError, EXIT } from './exit.ts';
import { unknownText } from './inspectUnknown.ts';
import { recognise, type ShownKind } from '../../attestation/recognition/recognise.ts';

/** What `verify` takes as it is. */
const JUDGED: readonly ShownKind[] = ['disclosure', 'bundle', 'receipt', 'attestation', 'document'];

const OURS = 'Verify a bundle, a receipt with its evidence, an evidence document or a live service.';
const SHOW = '`vouchsafe inspect` shows what it says.';
const EVIDENCE =
  'Raw evidence does not say for which keys and for whose question it was made. An evidence document binds it to them: ' +
  `verify that, the bundle that holds it, or the service itself. ${SHOW}`;
const STATEMENT = `It says something about evidence. Give it to --collateral beside what it is about. ${SHOW}`;
const REFERENCES = `It says what devices should measure. A bundle and a file of \`collateral fetch\` bring it with the evidence. ${SHOW}`;
const OPERATOR = `It says who answers for an instance; an evidence document carries it. ${OURS} ${SHOW}`;
const TOKEN = `It is the word of another verifier: see \`vouchsafe verify-token\`. ${SHOW}`;

/** What to do with a file of each kind. Any other kind is evidence, or a part of it. */
const ADVICE: Readonly<Partial<Record<ShownKind, string>>> = {
  policy: 'Judge something under it, with --policy. `vouchsafe policy check` lists every problem in it.',
  record: `It is an entry of a log. ${OURS} ${SHOW}`,
  checkpoint: `It is the head of a log. ${OURS} ${SHOW}`,
  timestamp: `It says when some bytes existed. A bundle brings it with the log that it is over. ${SHOW}`,
  anchor: `It says who confirmed the head of a log. A bundle brings it with a receipt. ${SHOW}`,
  'operator-statement': OPERATOR,
  bundle: OURS,
  receipt: OURS,
  attestation: OURS,
  document: OURS,
  collateral: STATEMENT,
  certificates: STATEMENT,
  crl: STATEMENT,
  'tcb-info': STATEMENT,
  'qe-identity': STATEMENT,
  'ocsp-response': STATEMENT,
  rim: REFERENCES,
  'thim-certificates': STATEMENT,
  'nras-answer': TOKEN,
  jwt: TOKEN,
  jwks: TOKEN,
};

/** Why a file is not one to be judged alone, and what to do with it; undefined for one that is. */
export function unfit(path: string, bytes: Uint8Array): CliError | undefined {
  const { kind, name, encoding } = recognise(bytes);
  const isJson = kind === 'attestation';
  if (kind === 'unknown' || (isJson && !Buffer.from(bytes).includes('"vouchsafe/attestation/'))) {
    return new CliError(
      EXIT.unreadable,
      `${path} is no file that is known here: ${unknownText(bytes)}`,
      OURS,
    );
  }
  if (JUDGED.includes(kind)) {
    if (encoding === undefined) return undefined;
    return new CliError(EXIT.misuse, `${path} is written as ${encoding}: ${name}`, 'Decode it first.');
  }
  return new CliError(EXIT.misuse, `${path} vouches for nothing alone: ${name}`, ADVICE[kind] ?? EVIDENCE);
}
