import cluster from 'node:cluster';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AddressInfo } from 'node:net';
import { listen, type Listening } from '../http/listen.ts';
import type { Service } from '../http/service.ts';
import type { SignerState } from './calls.ts';
import { deskHandlers, signerState } from './desk.ts';
import { HttpProcess } from './httpProcess.ts';
import { withoutSecrets } from './secrets.ts';

/** How often the others are told what changed. */
const TELL_MS = 50;
/** Pause before a process that died is started again. */
const RESTART_MS = 500;

/**
 * Serves HTTP from several processes. This one stays the instance: it alone has the keys, signs, and writes the log; it
 * answers what the others hand over on a Unix socket in a folder that only this user may enter.
 */
export async function listenInProcesses(service: Service, entry: URL): Promise<Listening> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-'));
  const socket = join(folder, 'signer.sock');
  const own = await listen(service, socket);
  const pool = new Pool(service, socket, entry);
  try {
    const port = await pool.start();
    return {
      port,
      drain: async (timeoutMs) => {
        await pool.stop(timeoutMs);
        await own.drain(timeoutMs);
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await pool.stop(0);
    await own.drain(0);
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The processes that serve HTTP: as many as the configuration says, replaced when they die. */
class Pool {
  readonly #service: Service;
  readonly #socket: string;
  readonly #processes = new Set<HttpProcess>();
  #told: SignerState;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(service: Service, socket: string, entry: URL) {
    this.#service = service;
    this.#socket = socket;
    this.#told = signerState(service);
    cluster.setupPrimary({ exec: fileURLToPath(entry), serialization: 'advanced', args: [] });
  }

  /** Resolves with the port on which all of them listen. */
  async start(): Promise<number> {
    const { processes } = this.#service.config.server;
    const port = new Promise<number>((resolve) => {
      cluster.once('listening', (_worker, address: AddressInfo) => {
        resolve(address.port);
      });
    });
    await Promise.all(Array.from({ length: processes }, () => this.#add()));
    this.#timer = setInterval(() => {
      this.#tell();
    }, TELL_MS);
    this.#timer.unref();
    return port;
  }

  /** Lets them finish what they answer, then ends them. One that hangs keeps nobody from final evidence. */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#processes].map((process) => process.stop(timeoutMs)));
  }

  async #add(): Promise<void> {
    const process = new HttpProcess({
      desk: deskHandlers(this.#service),
      onEnd: (code, signal) => {
        this.#processes.delete(process);
        if (!this.#stopping) this.#replace(code, signal);
      },
    });
    this.#processes.add(process);
    const config = withoutSecrets(this.#service.config);
    await process.begin({ config, socket: this.#socket, state: signerState(this.#service) });
    // What changed while it began.
    process.tell(signerState(this.#service));
  }

  /** One that dies again before it serves is replaced in its turn. */
  #replace(code: number | null, signal: string | null): void {
    this.#service.log.warn('an HTTP process died', { code, signal });
    setTimeout(() => {
      if (!this.#stopping) void this.#add().catch(() => undefined);
    }, RESTART_MS).unref();
  }

  #tell(): void {
    const state = signerState(this.#service);
    // The others refuse requests under old evidence, so that none of these has it renewed.
    if (state.stop?.code === 'EVIDENCE_TOO_OLD') this.#service.vouching.renewStale();
    if (isSame(state, this.#told)) return;
    this.#told = state;
    for (const process of this.#processes) process.tell(state);
  }
}

function isSame(a: SignerState, b: SignerState): boolean {
  return (
    a.evidence === b.evidence &&
    a.stop?.code === b.stop?.code &&
    a.stop?.refusal === b.stop?.refusal &&
    a.content === b.content &&
    a.models.length === b.models.length &&
    a.models.every((model, i) => model === b.models[i])
  );
}
