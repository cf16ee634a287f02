import { createHash, X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import { Duplex } from 'node:stream';
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { TlsKeyError } from '../errors.ts';
import type { TlsIdentity } from './identity.ts';

/** A chain and its key have a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_PASSWORD_BYTES = 1024;

export interface Pkcs12Options {
  readonly file: string;
  /** File whose first line is the password; undefined where there is none. */
  readonly passwordFile?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Imports a key and its certificate chain, RSA or EC. The file is read once and stays encrypted in memory; OpenSSL
 * opens it. Who wrote the file decides under which name clients reach the service, and may have kept the key: to
 * clients that do not compare it with the keyset it proves a name, and no hardware.
 */
export async function importPkcs12({ file, passwordFile, now }: Pkcs12Options): Promise<TlsIdentity> {
  const pfx = await readBounded(file, MAX_FILE_BYTES);
  let passphrase = passwordFile === undefined ? '' : await readPassword(passwordFile);
  const certificate = await certificateOf(openContext(pfx, passphrase));
  requireValid(certificate, now());
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  let isDropped = false;
  return {
    spki: createHash('sha256').update(spki).digest(),
    namesEvidence: false,
    present(_evidence, take) {
      if (isDropped) return Promise.reject(new Error('the TLS key was dropped'));
      take({ pfx, passphrase });
      return Promise.resolve();
    },
    drop() {
      isDropped = true;
      pfx.fill(0);
      passphrase = '';
    },
  };
}

async function readPassword(path: string): Promise<string> {
  const bytes = await readBounded(path, MAX_PASSWORD_BYTES);
  const [line = ''] = bytes.toString('utf8').split(/\r?\n/, 1);
  bytes.fill(0);
  return line;
}

/** Reads at most `most` bytes: a device or a pipe in place of the file does not fill the memory. */
async function readBounded(path: string, most: number): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > most) throw new Error(`not a file of at most ${most} bytes`);
      const buffer = Buffer.alloc(stat.size);
      const { bytesRead } = await file.read(buffer, 0, stat.size, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TlsKeyError('PKCS12_UNREADABLE', `${path}: ${reason}`, { cause: error });
  }
}

function openContext(pfx: Buffer, passphrase: string): SecureContext {
  try {
    return createSecureContext({ pfx, passphrase });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const isPassword = /mac verify failure|bad decrypt|password/i.test(reason);
    throw new TlsKeyError(isPassword ? 'PKCS12_PASSWORD' : 'PKCS12_UNSUPPORTED', reason, { cause: error });
  }
}

/**
 * The certificate that a client is shown, by a handshake in memory: it takes the private key, too, so that a file
 * whose parts do not belong together is found now.
 */
async function certificateOf(secureContext: SecureContext): Promise<X509Certificate> {
  const [serverSide, clientSide] = pairOfStreams();
  const server = new TLSSocket(serverSide, { isServer: true, secureContext });
  const client = connect({ socket: clientSide, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  try {
    return await new Promise((resolve, reject) => {
      server.once('error', reject);
      client.once('error', reject);
      for (const end of [server, client])
        end.once('close', () => reject(new Error('the handshake broke off')));
      client.once('secureConnect', () => {
        const raw = client.getPeerCertificate().raw as Buffer | undefined;
        if (raw) resolve(new X509Certificate(raw));
        else reject(new Error('the server has no certificate'));
      });
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TlsKeyError('PKCS12_INCOMPLETE', reason, { cause: error });
  } finally {
    client.destroy();
    server.destroy();
  }
}

/** Two ends of one connection. */
function pairOfStreams(): readonly [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read: () => undefined,
      write: (chunk, _encoding, done) => {
        other().push(chunk);
        done();
      },
      final: (done) => {
        other().push(null);
        done();
      },
    });
  const one: Duplex = make(() => two);
  const two: Duplex = make(() => one);
  return [one, two];
}

function requireValid(certificate: X509Certificate, now: number): void {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (now >= from && now <= to) return;
  const detail = `the certificate is valid from ${certificate.validFrom} to ${certificate.validTo}`;
  throw new TlsKeyError('PKCS12_EXPIRED', detail);
}
