import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** True where the command `openssl` is there. */
export const HAS_OPENSSL = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

export interface Pkcs12Fixture {
  readonly file: string;
  readonly passwordFile: string;
  /** PEM. */
  readonly certificate: string;
}

const KEYS = {
  rsa: ['-newkey', 'rsa:2048'],
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
} as const;

/** Makes a PKCS#12 file as an operator does, with the command `openssl`. */
export function mintPkcs12(
  folder: string,
  { kind = 'ec', days = 30, extra = [] }: { kind?: keyof typeof KEYS; days?: number; extra?: string[] } = {},
): Pkcs12Fixture {
  const at = (name: string) => join(folder, name);
  const run = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  run(
    'req',
    '-x509',
    ...KEYS[kind],
    '-nodes',
    ...subject,
    '-days',
    String(days),
    '-keyout',
    at('key.pem'),
    '-out',
    at('cert.pem'),
  );
  writeFileSync(at('password'), 'a long password\n');
  const password = ['-passout', `file:${at('password')}`];
  run(
    'pkcs12',
    '-export',
    '-inkey',
    at('key.pem'),
    '-in',
    at('cert.pem'),
    ...password,
    ...extra,
    '-out',
    at('tls.p12'),
  );
  const certificate = run('x509', '-in', at('cert.pem')).toString();
  return { file: at('tls.p12'), passwordFile: at('password'), certificate };
}
