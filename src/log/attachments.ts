import { equalBytes, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { Sha256 } from '../../attestation/crypto/provider.ts';
import { LogError } from './errors.ts';
import { EVIDENCE_FOLDER } from './layout.ts';
import type { LogFiles } from './storage.ts';

export const COLLATERAL_FOLDER = 'collateral';
export const ANCHOR_FOLDER = 'anchors';

const DIGEST_LINE = /^[0-9a-f]{64}\n$/;
const NUMBER = '(?:0|[1-9][0-9]{0,15})';
const ATTACHED = new RegExp(
  `^(?:anchors/${NUMBER}\\.cbor|collateral/[0-9a-f]{64}\\.cbor|evidence/${NUMBER}\\.collateral)$`,
);

/** Path of a snapshot of collateral below the log's folder, by its SHA-256 in hex. */
export function collateralPath(digest: string): string {
  return `${COLLATERAL_FOLDER}/${digest}.cbor`;
}

/** Path of the line that says which collateral was known when the document was made. */
export function collateralNamePath(seq: number): string {
  return `${EVIDENCE_FOLDER}/${seq}.collateral`;
}

/** Path of what outsiders said of the head of a size. */
export function anchorPath(size: number): string {
  return `${ANCHOR_FOLDER}/${size}.cbor`;
}

/**
 * What outsiders say of evidence and log, beside them: collateral of vendors and anchors. All of it is signed by
 * others. Who controls the disk can withhold it or swap one snapshot for another; verifiers see signatures and dates.
 */
export class Attachments {
  readonly #files: LogFiles;
  readonly #sha256: Sha256;
  /** Snapshots that this process wrote. */
  readonly #written = new Set<string>();

  constructor(files: LogFiles, sha256: Sha256) {
    this.#files = files;
    this.#sha256 = sha256;
  }

  /** The snapshot once, then the line that names it: a line never lacks its snapshot. */
  async writeCollateral(seq: number, collateral: Uint8Array): Promise<void> {
    const digest = toHex(this.#sha256(collateral));
    if (!this.#written.has(digest)) {
      await this.#files.write(collateralPath(digest), collateral);
      this.#written.add(digest);
    }
    await this.#files.write(collateralNamePath(seq), utf8(`${digest}\n`));
  }

  async readCollateral(seq: number): Promise<Uint8Array> {
    const line = Buffer.from(await this.#read(collateralNamePath(seq))).toString('utf8');
    const digest = line.slice(0, -1);
    if (!DIGEST_LINE.test(line)) throw new LogError('LOG_CORRUPT', `${collateralNamePath(seq)} is no digest`);
    const collateral = await this.#read(collateralPath(digest));
    if (!equalBytes(this.#sha256(collateral), Buffer.from(digest, 'hex'))) {
      throw new LogError('LOG_CORRUPT', `${collateralPath(digest)} has another digest`);
    }
    return collateral;
  }

  /** Replaces what was known of the head before. */
  async writeAnchor(size: number, anchor: Uint8Array): Promise<void> {
    await this.#files.write(anchorPath(size), anchor);
  }

  readAnchor(size: number): Promise<Uint8Array> {
    return this.#read(anchorPath(size));
  }

  /** Paths of everything that is attached, in no order. */
  async paths(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const folder of [ANCHOR_FOLDER, COLLATERAL_FOLDER, EVIDENCE_FOLDER]) {
      const names = await this.#files.names(folder);
      found.push(...names.map((name) => `${folder}/${name}`).filter((path) => ATTACHED.test(path)));
    }
    return found;
  }

  /** One of `paths`, as stored; undefined where there is no such file. */
  async read(path: string): Promise<Uint8Array | undefined> {
    return ATTACHED.test(path) ? this.#files.read(path) : undefined;
  }

  async #read(path: string): Promise<Uint8Array> {
    const bytes = await this.#files.read(path);
    if (!bytes) throw new LogError('LOG_CORRUPT', `${path} is missing`);
    return bytes;
  }
}
