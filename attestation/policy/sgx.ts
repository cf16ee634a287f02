import * as z from 'zod';
import { mask, platform, sgxTcb } from './dcap.ts';
import { hex, orAny, protection, references, unique, weakness } from './shapes.ts';

const u16 = z.int().min(0).max(0xffff);

/** Bits of ATTRIBUTES.FLAGS besides INIT and DEBUG. One that is not named here is refused. */
const attributes = z.strictObject({
  /** Bit 2: the enclave runs in 64-bit mode. */
  mode64Bit: protection,
  /** Bit 4: the enclave may derive keys that name the platform to its owner. */
  provisionKey: weakness,
  /** Bit 5: the enclave may let others launch. */
  einitTokenKey: weakness,
  /** Bit 6: control-flow enforcement. */
  cet: protection,
  /** Bit 7: key separation and sharing: the host chooses `configId` at launch. */
  kss: weakness,
  /** Bit 10: the enclave is told of interrupts, a defence against single-stepping. */
  aexNotify: protection,
});

/** What was launched. An empty list gives «not judged», naming the value that was seen. */
const software = {
  /** Measurement of the enclave (SHA-256). */
  mrEnclave: orAny(references(32)),
  /** SHA-256 of the key that signed the enclave. */
  mrSigner: orAny(references(32)),
  /** Products of that signer. */
  isvProdIds: orAny(unique(u16).min(1)),
  /** Oldest security version of the enclave; it means something only together with a signer. */
  minimumIsvSvn: orAny(u16),
  configId: orAny(references(64)),
};

/** What a relying party accepts of an Intel SGX enclave. */
export const sgxPolicySchema = z
  .strictObject({
    /** ATTRIBUTES bit 1: the host may read and write the memory of the enclave. */
    debug: weakness,
    attributes,
    /** Extended CPU features that the enclave may use (ATTRIBUTES.XFRM). */
    xfrm: orAny(mask),
    /** MISCSELECT as a number, most significant digit first: the bits that may be set. */
    miscSelect: orAny(hex(4)),
    tcb: sgxTcb,
    platform,
    ...software,
  })
  .superRefine((policy, context) => {
    if (policy.mrEnclave !== 'any' || policy.mrSigner !== 'any') return;
    for (const member of ['isvProdIds', 'minimumIsvSvn'] as const) {
      if (policy[member] === 'any') continue;
      const message = 'a signer numbers its own products: name signers in mrSigner, or write any';
      context.addIssue({ code: 'custom', path: [member], message });
    }
  });

export type SgxPolicy = z.infer<typeof sgxPolicySchema>;
