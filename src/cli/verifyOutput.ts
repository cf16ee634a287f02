import { writeFile } from 'node:fs/promises';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { toVerificationDocument } from '../../attestation/verification/document.ts';
import type { JudgedInput } from '../../attestation/verification/parts.ts';
import { earCwt, type EarForm, earJwt } from './earToken.ts';
import { CliError, EXIT } from './exit.ts';
import { type AnchoredVerdict, earOf } from './extraAnchors.ts';
import { readPrivateKey } from './privateKey.ts';
import { stdout } from './terminal.ts';
import { packageVersion } from './version.ts';

/** How a verdict is handed on other than to people. */
export interface OutputFlags {
  readonly ear?: EarForm;
  readonly earKey?: string;
  readonly steps?: boolean;
  readonly json?: boolean;
  readonly out?: string;
}

/** What was judged, as documents about it name it. */
export interface OutputParts {
  readonly verdict: AnchoredVerdict;
  readonly inputs: readonly JudgedInput[];
  readonly context: AppraisalContext;
}

/** Refuses what cannot be together before anything is judged. Throws `CliError`. */
export function checkOutput(flags: OutputFlags): void {
  const { ear, steps, json, out } = flags;
  const forms = [ear !== undefined && '--ear', steps && '--steps', json && '--json'].filter(Boolean);
  if (forms.length > 1) throw new CliError(EXIT.misuse, `${forms.join(' and ')} exclude each other`);
  if (out !== undefined && forms.length === 0) {
    throw new CliError(EXIT.misuse, '--out needs a form', 'Say which with --ear, --steps or --json.');
  }
  checkEar(flags);
}

function checkEar({ ear, earKey, out }: OutputFlags): void {
  if (earKey !== undefined && (ear === undefined || ear === 'claims')) {
    throw new CliError(EXIT.misuse, '--ear-key signs results', `Say --ear jwt or --ear cwt with it.`);
  }
  if (ear === undefined || ear === 'claims') return;
  if (earKey === undefined) {
    const advice =
      'Nobody has reason to believe a result that nobody signed. Make a key with `openssl genpkey -algorithm ed25519 -out ear-key.pem`, and name it with --ear-key.';
    throw new CliError(EXIT.misuse, `--ear ${ear} needs --ear-key`, advice);
  }
  if (ear === 'cwt' && out === undefined) {
    throw new CliError(EXIT.misuse, '--ear cwt is no text', 'Name a file for it with --out.');
  }
}

/** Writes the result as the flags say; false where they ask for none of these forms. */
export async function writeOutput(flags: OutputFlags, parts: OutputParts): Promise<boolean> {
  const { ear, steps, out } = flags;
  if (ear !== undefined) await put(out, await earBytes(ear, flags.earKey, parts));
  else if (steps) await put(out, jsonText(stepsOf(parts)));
  else return false;
  return true;
}

/** Writes text or bytes to a file that does not exist yet, or to standard output. */
export async function put(out: string | undefined, content: string | Uint8Array): Promise<void> {
  if (out === undefined) {
    stdout.line(String(content).trimEnd());
    return;
  }
  try {
    await writeFile(out, content, { flag: 'wx' });
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CliError(EXIT.misuse, `--out: ${out} cannot be written: ${code}`);
  }
}

export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

async function earBytes(
  form: EarForm,
  keyFile: string | undefined,
  { verdict, inputs }: OutputParts,
): Promise<string | Uint8Array> {
  const digests = inputs.map(({ kind, bytes }) => ({ name: kind, sha256: nodeCrypto.hash('sha256', bytes) }));
  const claims = earOf(verdict, digests);
  if (form === 'claims' || keyFile === undefined) return jsonText(claims);
  const key = await readPrivateKey(keyFile);
  return form === 'jwt' ? `${await earJwt(claims, key)}\n` : earCwt(claims, key);
}

function stepsOf({ verdict, inputs, context }: OutputParts): object {
  const { anchors, collateral, crypto } = context;
  const verifier = `vouchsafe ${packageVersion()}`;
  return toVerificationDocument(verdict, { inputs, anchors, collateral, verifier, crypto });
}
