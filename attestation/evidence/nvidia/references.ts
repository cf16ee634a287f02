import { Refusal } from '../../errors.ts';
import { createChainCache } from '../../x509/chainCache.ts';
import { OcspLibrary } from '../../x509/ocspLibrary.ts';
import { driverRimId, vbiosRimId, verifyRim, type VerifiedRim } from './rim.ts';
import type { VerifiedDevice, VerifyOptions } from './verify.ts';

/** Reference values of one part: verified, not supplied, or supplied and refused. */
export type DeviceReference =
  VerifiedRim | { readonly missing: string } | { readonly refused: Refusal; readonly id: string };

export interface DeviceReferences {
  /** Undefined for a switch, which has one manifest. */
  readonly driver: DeviceReference | undefined;
  /** VBIOS of a GPU, BIOS of a switch. */
  readonly vbios: DeviceReference;
}

/** Signatures of certificates that the manifests of one appraisal share: root, CA and L3, with room to spare. */
const ONE_APPRAISAL = 16;

/**
 * What the vendor says about the devices of one appraisal: manifests, each verified at most once, for eight GPUs of
 * one kind need the same two, and answers on revocation. Never refuses: what does not verify is a value.
 */
export class ReferenceLibrary {
  readonly ocspResponses: OcspLibrary;
  readonly #rims: ReadonlyMap<string, Uint8Array>;
  readonly #options: VerifyOptions;
  readonly #verified = new Map<string, Promise<DeviceReference>>();

  /** `rims` by id; ids that no device needs are never read. `ocspResponses` in DER, of any responder. */
  constructor(
    rims: ReadonlyMap<string, Uint8Array>,
    options: VerifyOptions,
    ocspResponses: readonly Uint8Array[] = [],
  ) {
    this.ocspResponses = new OcspLibrary(ocspResponses);
    this.#rims = rims;
    this.#options = { ...options, chainCache: options.chainCache ?? createChainCache(ONE_APPRAISAL) };
  }

  /** The manifests that a device needs. */
  async of({ report }: VerifiedDevice): Promise<DeviceReferences> {
    const driver = driverRimId(report);
    return {
      driver: driver === undefined ? undefined : await this.#get(driver),
      vbios: await this.#get(vbiosRimId(report)),
    };
  }

  #get(id: string): Promise<DeviceReference> {
    const known = this.#verified.get(id);
    if (known) return known;
    const reference = this.#verify(id);
    this.#verified.set(id, reference);
    return reference;
  }

  async #verify(id: string): Promise<DeviceReference> {
    const xml = this.#rims.get(id);
    if (!xml) return { missing: id };
    try {
      return await verifyRim(xml, this.#options);
    } catch (error) {
      if (error instanceof Refusal) return { refused: error, id };
      throw error;
    }
  }
}
