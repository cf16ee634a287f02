import { toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { serialKey } from './crl.ts';
import { isCertIdOf } from './ocspCertId.ts';
import { parseOcspResponse, type OcspResponse, type OcspStatement } from './ocsp.ts';
import { verifyOcspResponse, type VerifiedOcspResponse } from './ocspResponder.ts';

/** Eight GPUs and four switches with their manifests need about fifty, twice that in two documents. */
const MAX_RESPONSES = 256;

interface Entry {
  readonly statement: OcspStatement;
  readonly response: OcspResponse;
}

/** A statement about one certificate by a responder of its issuer. */
export interface VerifiedOcspStatement extends OcspStatement {
  readonly signer: Certificate;
}

/**
 * The OCSP responses of one appraisal, in any order and of any responder: each is parsed once, and verified once for
 * each issuer that it is needed for. Never refuses when it is made: what does not parse is a value.
 */
export class OcspLibrary {
  /**
   * Why responses are unreadable. One of them may be a revocation that somebody damaged, so a check that relies on
   * the library refuses for it.
   */
  readonly unreadable: readonly Refusal[];
  /** Responders' errors, which state nothing and are passed over. */
  readonly errors: readonly string[];
  readonly #entries = new Map<string, Entry[]>();
  readonly #verified = new Map<OcspResponse, Map<string, Promise<VerifiedOcspResponse>>>();

  constructor(responses: readonly Uint8Array[]) {
    const unreadable: Refusal[] = [];
    const errors: string[] = [];
    this.unreadable = unreadable;
    this.errors = errors;
    if (responses.length > MAX_RESPONSES) {
      unreadable.push(new Refusal('MALFORMED', `more than ${MAX_RESPONSES} OCSP responses`));
      return;
    }
    for (const [i, der] of responses.entries()) {
      try {
        this.#add(parseOcspResponse(der));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.code === 'COLLATERAL_MISSING') errors.push(error.message);
        else unreadable.push(new Refusal(error.code, `OCSP response ${i}: ${error.message}`));
      }
    }
  }

  /**
   * What the responses say of a certificate that `issuer`, itself verified already, issued. A response about it that
   * does not verify is refused, not passed over: with a forged one beside it, nobody knows which was meant.
   */
  async statementsOf(
    certificate: Certificate,
    issuer: Certificate,
    crypto: CryptoProvider,
  ): Promise<readonly VerifiedOcspStatement[]> {
    const found: VerifiedOcspStatement[] = [];
    for (const { statement, response } of this.#ofSerial(certificate)) {
      if (!isCertIdOf(statement.certId, certificate, issuer, crypto)) continue;
      const { signer } = await this.#verify(response, issuer, crypto);
      found.push({ ...statement, signer });
    }
    return found;
  }

  /** Whether a response is about a certificate of this serial, of whatever issuer. */
  hasSerial(certificate: Certificate): boolean {
    return this.#ofSerial(certificate).length > 0;
  }

  #add(response: OcspResponse): void {
    for (const statement of response.statements) {
      const key = serialKey(statement.certId.serial);
      const entries = this.#entries.get(key) ?? [];
      this.#entries.set(key, entries);
      entries.push({ statement, response });
    }
  }

  #ofSerial({ serial }: Certificate): readonly Entry[] {
    return this.#entries.get(serialKey(serial)) ?? [];
  }

  /** An issuer is known by its whole certificate: another one with its name may have another key. */
  #verify(
    response: OcspResponse,
    issuer: Certificate,
    crypto: CryptoProvider,
  ): Promise<VerifiedOcspResponse> {
    const ofResponse = this.#verified.get(response) ?? new Map<string, Promise<VerifiedOcspResponse>>();
    this.#verified.set(response, ofResponse);
    const key = toHex(issuer.der);
    const known = ofResponse.get(key);
    if (known) return known;
    const verifying = verifyOcspResponse(response, issuer, crypto);
    ofResponse.set(key, verifying);
    return verifying;
  }
}
