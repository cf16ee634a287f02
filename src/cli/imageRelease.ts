import { access, rename, writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { publicKeyOf } from '../../enclave/image/release/dsse.ts';
import { manifestDigest } from '../../enclave/image/release/manifest.ts';
import {
  readReleases,
  type Release,
  type Releases,
  signReleases,
} from '../../enclave/image/release/releases.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { readImageManifest, readPinnedKeys } from './imageInput.ts';
import { readPrivateKey } from './privateKey.ts';
import { printable, stdout } from './terminal.ts';

interface SignFlags {
  readonly sign: string;
  /** Days after which the statement has to be made again. */
  readonly days: number;
}

interface AddFlags extends SignFlags {
  readonly until: string;
  readonly from?: string;
}

interface WithdrawFlags extends SignFlags {
  readonly reason: string;
}

const DAY_MS = 86_400_000;
const MAX_BYTES = 2 * 1024 * 1024;
const FILE = 'signed statement on releases';

export function releaseImageCommand(): Command {
  const add = newCommand('add', 'State that a release is good, from when until when', [
    [
      'start a statement',
      'vouchsafe image release add releases.dsse.json image --until 2027-01-01T00:00:00Z --sign key.pem',
    ],
  ])
    .argument('<file>', `${FILE}; made where it is not there`)
    .argument('<image>', 'output folder or manifest')
    .requiredOption('--until <time>', 'first instant at which it is no longer accepted', instantOf)
    .option('--from <time>', 'from when it is accepted (default: now)', instantOf)
    .action(runAdd);
  const withdraw = newCommand('withdraw', 'State that a release is accepted no longer, and why', [
    [
      'after a hole was found',
      'vouchsafe image release withdraw releases.dsse.json vouchsafe-1.0.0 --reason "CVE-2026-0001 in node" --sign key.pem',
    ],
  ])
    .argument('<file>', FILE)
    .argument('<name>', 'name of the release')
    .requiredOption('--reason <text>', 'what people read of it')
    .action(runWithdraw);
  const renew = newCommand('renew', 'Make the statement again, so that it stays good', [
    ['from a timer', 'vouchsafe image release renew releases.dsse.json --days 7 --sign key.pem'],
  ])
    .argument('<file>', FILE)
    .action(runRenew);
  const show = newCommand('show', 'Verify and print a statement on releases', [
    ['by the key of the publisher', 'vouchsafe image release show releases.dsse.json --key publisher.pem'],
  ])
    .argument('<file>', FILE)
    .requiredOption('--key <pem>', 'public key of the publisher, again for more', repeated)
    .addHelpText('after', IMAGE_EXIT_HELP)
    .action(runShow);
  const command = newCommand('release', 'State which releases are good, and which were withdrawn');
  for (const signing of [add, withdraw, renew]) command.addCommand(withSigning(signing));
  return command.addCommand(show);
}

function withSigning(command: Command): Command {
  return command
    .requiredOption('--sign <pem>', 'private key on P-256; VOUCHSAFE_KEY_PASSPHRASE opens it')
    .option('--days <number>', 'how long the statement is good', daysOf, 30)
    .addHelpText('after', IMAGE_EXIT_HELP);
}

async function runAdd(file: string, image: string, flags: AddFlags): Promise<void> {
  const { until, from = instantText(Date.now()) } = flags;
  if (from >= until) throw new CliError(EXIT.misuse, '--until is not after --from');
  await change(file, flags, (await isThere(file)) ? 'existing' : 'new', async (releases) => {
    const manifest = await readImageManifest(image, []);
    const { name } = manifest.release;
    const added: Release = {
      name,
      manifest: toHex(manifestDigest(manifest)),
      validFrom: from,
      validUntil: until,
      withdrawn: null,
    };
    if (releases.some((known) => known.name === name || known.manifest === added.manifest)) {
      throw new CliError(
        EXIT.misuse,
        `${name} is there already`,
        'A release keeps its name; make another one.',
      );
    }
    return [...releases, added];
  });
}

async function runWithdraw(file: string, name: string, flags: WithdrawFlags): Promise<void> {
  await change(file, flags, 'existing', (releases) => {
    const found = releases.find((release) => release.name === name);
    if (!found) throw new CliError(EXIT.misuse, `no release is called ${name}`);
    if (found.withdrawn) throw new CliError(EXIT.misuse, `${name} was withdrawn already`);
    const withdrawn = { since: instantText(Date.now()), reason: flags.reason };
    return Promise.resolve(
      releases.map((release) => (release === found ? { ...release, withdrawn } : release)),
    );
  });
}

async function runRenew(file: string, flags: SignFlags): Promise<void> {
  await change(file, flags, 'existing', (releases) => Promise.resolve(releases));
}

/** Reads a statement by the public half of the key that signs the next one, and puts that in its place. */
async function change(
  file: string,
  { sign, days }: SignFlags,
  state: 'existing' | 'new',
  edit: (releases: readonly Release[]) => Promise<readonly Release[]>,
): Promise<void> {
  const key = await readPrivateKey(sign);
  const now = Date.now();
  const next = await imageAction(async () => {
    const pinned = [publicKeyOf(key)];
    // One that is out of its time may be renewed: it is looked at as of when it was good.
    const before =
      state === 'new'
        ? undefined
        : await readReleases(await readInput(file, MAX_BYTES), { pinned, now: undefined, seen: 0 });
    const releases = await edit(before?.releases ?? []);
    const statement: Releases = {
      version: 'vouchsafe/image-releases/1',
      sequence: (before?.sequence ?? 0) + 1,
      issued: instantText(now),
      nextUpdate: instantText(now + days * DAY_MS),
      releases: [...releases],
    };
    return { statement, signed: signReleases(statement, key) };
  });
  // In one step: an interrupted write must not leave half a statement.
  await writeFile(`${file}.new`, next.signed);
  await rename(`${file}.new`, file);
  print(next.statement);
}

async function runShow(file: string, { key }: { readonly key: readonly string[] }): Promise<void> {
  const releases = await imageAction(async () => {
    const pinned = await readPinnedKeys(key);
    return readReleases(await readInput(file, MAX_BYTES), { pinned, now: Date.now(), seen: 0 });
  });
  print(releases);
}

function print({ sequence, issued, nextUpdate, releases }: Releases): void {
  const { c } = stdout;
  stdout.line(`statement ${sequence} of ${issued}, good until ${nextUpdate}`);
  for (const { name, manifest, validFrom, validUntil, withdrawn } of releases) {
    const mark = withdrawn ? c.red('✗') : c.green('✓');
    const said = withdrawn
      ? `withdrawn since ${withdrawn.since}: ${withdrawn.reason}`
      : `from ${validFrom} until ${validUntil}`;
    stdout.line(`${mark} ${c.bold(printable(name))}  ${printable(said)}`);
    stdout.line(c.dim(`  manifest ${manifest}`));
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}

function instantText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}

function instantOf(text: string): string {
  const time = Date.parse(text);
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) && !Number.isNaN(time)) return text;
  throw new InvalidArgumentError('Expected a time such as 2027-01-31T00:00:00Z.');
}

function daysOf(text: string): number {
  const days = Number(text);
  if (/^\d{1,4}$/.test(text) && days > 0) return days;
  throw new InvalidArgumentError('It is a number of days.');
}
