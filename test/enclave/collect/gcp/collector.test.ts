import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import type { TpmEvidence } from '../../../../attestation/evidence/evidence.ts';
import type { TpmPolicy } from '../../../../attestation/policy/tpm.ts';
import { AK_INDICES, gcpVtpmWay, type GcpWayOptions } from '../../../../enclave/collect/gcp/collector.ts';
import { readTemplate } from '../../../../enclave/collect/gcp/template.ts';
import { RH, tpm2b } from '../../../../enclave/collect/tpm/command.ts';
import { ECC_AK_TEMPLATE, withPrimary } from '../../../../enclave/collect/tpm/keys.ts';
import { defineNv, NV, readNvPublic, undefineNv, writeNv } from '../../../../enclave/collect/tpm/nv.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { cpuFailures, judgeDocument, mintDocument, NO_PLATFORM } from '../../../support/evidenceDocument.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { describeSwtpm, RSA_AK, startSwtpm, type Swtpm } from '../../../support/swtpm.ts';
import * as tpm from '../../../support/tpmAuthority.ts';

const REPORT_DATA = new Uint8Array(randomBytes(64));
const POLICY: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: ['4711'],
  minimumFirmware: 'any',
  clock: 'any',
  pcrs: { bank: 'sha256', values: { '0': [{ name: 'nothing measured', value: '00'.repeat(32) }] } },
  revocation: 'when-present',
};
const KEYS = {
  ecc: { template: ECC_AK_TEMPLATE, format: { name: 'ECDSA', namedCurve: 'P-256' } },
  rsa: { template: RSA_AK, format: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
} as const;
type Kind = keyof typeof KEYS;

describeSwtpm('the virtual TPM of Google Cloud', () => {
  let swtpm: Swtpm;
  let authority: tpm.TpmAuthority;

  beforeAll(async () => {
    swtpm = await startSwtpm();
    authority = await tpm.mintTpmAuthority('gcp-vtpm');
  });
  afterEach(async () => {
    swtpm.atTheDoor = undefined;
    await swtpm.forgetKeys();
    for (const { certificate, template } of Object.values(AK_INDICES)) {
      for (const index of [certificate, template]) {
        if (await readNvPublic(swtpm.session, index)) await undefineNv(swtpm.session, index);
      }
    }
  });
  afterAll(() => swtpm.stop());

  async function keep(index: number, content: Uint8Array): Promise<void> {
    const area = { index, attributes: NV.ownerRead | NV.ownerWrite | NV.authRead, size: content.length };
    await defineNv(swtpm.session, area);
    await writeNv(swtpm.session, area, content);
  }

  /** A certificate of the key that the template gives, as Google issues it. */
  async function certificateFor(kind: Kind): Promise<Uint8Array> {
    const { template, format } = KEYS[kind];
    const spki = await withPrimary(swtpm.session, RH.endorsement, template, ({ area }) =>
      Promise.resolve(area.spki),
    );
    const publicKey = await crypto.subtle.importKey('spki', spki as BufferSource, format, true, ['verify']);
    const instance = tpm.raw(tpm.GOOGLE_INSTANCE, tpm.googleInstance());
    const extensions = [tpm.LEAF, tpm.usage('digitalSignature'), instance];
    return authority.issueLeaf({ publicKey } as tpm.Keys, { extensions });
  }

  async function install(kind: Kind, template: Uint8Array = KEYS[kind].template): Promise<void> {
    await keep(AK_INDICES[kind].certificate, concat(await certificateFor(kind), new Uint8Array(40)));
    await keep(AK_INDICES[kind].template, template);
  }

  const way = (changes: Partial<GcpWayOptions> = {}) =>
    gcpVtpmWay({ address: swtpm.address, intermediates: [authority.ca, authority.root], ...changes });

  test.each<Kind>(['ecc', 'rsa'])('gives evidence of its %s key that the verifier accepts', async (kind) => {
    await install(kind);
    const collector = await way().open();
    const platform = {
      collectCpu: (reportData: Uint8Array) => collector.collect(reportData),
      cpu: { ...NO_PLATFORM, 'gcp-vtpm': POLICY },
      anchors: [{ ...authority.anchor, simulated: false }],
      collateral: NO_COLLATERAL,
      now: tpm.NOW,
    };
    const verdict = await judgeDocument(await mintDocument(platform.collectCpu), platform);
    expect(cpuFailures(verdict)).toEqual([]);
    expect(await way().find()).toMatchObject({ way: 'gcp-vtpm', state: 'usable' });
  });

  test('prefers the key on P-256', async () => {
    await install('rsa');
    await install('ecc');
    const { tpm: quote } = (await (await way().open()).collect(REPORT_DATA)) as TpmEvidence;
    // TPMT_SIGNATURE of ECDSA.
    expect([...quote.signature.subarray(0, 2)]).toEqual([0x00, 0x18]);
  });

  test('takes a template with a size in front', async () => {
    await install('ecc', tpm2b(ECC_AK_TEMPLATE));
    expect(await collectFailure(async () => (await way().open()).collect(REPORT_DATA))).toBeUndefined();
  });

  test('is absent where the TPM has no key of Google', async () => {
    expect(await way().find()).toMatchObject({ state: 'absent' });
    expect(await collectFailure(() => way().open())).toBe('DEVICE_MISSING');
    await keep(AK_INDICES.ecc.certificate, await certificateFor('ecc'));
    expect(await way().find()).toMatchObject({ state: 'absent' });
  });

  test('refuses a certificate of another key', async () => {
    await keep(AK_INDICES.ecc.certificate, await certificateFor('rsa'));
    await keep(AK_INDICES.ecc.template, ECC_AK_TEMPLATE);
    expect(await collectFailure(() => way().open())).toBe('EVIDENCE_MISMATCH');
    expect((await way().find()).state).toBe('unusable');
  });

  test.each([
    [
      'a certificate that is none',
      Uint8Array.of(0x30, 0x82, 0xff, 0xff),
      ECC_AK_TEMPLATE,
      'EVIDENCE_MALFORMED',
    ],
    ['a template of no key', undefined, Uint8Array.of(0, 8, 0, 11), 'EVIDENCE_MALFORMED'],
    ['a template that is cut off', undefined, ECC_AK_TEMPLATE.subarray(0, 12), 'DEVICE_REFUSED'],
    ['a template of a key that signs anything', undefined, unrestricted(), 'EVIDENCE_MISMATCH'],
  ])('refuses %s', async (_, certificate, template, code) => {
    await keep(AK_INDICES.ecc.certificate, certificate ?? (await certificateFor('ecc')));
    await keep(AK_INDICES.ecc.template, template);
    expect(await collectFailure(() => way().open())).toBe(code);
  });

  test('refuses an index larger than any certificate', async () => {
    await keep(AK_INDICES.ecc.template, new Uint8Array(1025));
    await keep(AK_INDICES.ecc.certificate, await certificateFor('ecc'));
    expect(await collectFailure(() => way().open())).toBe('EVIDENCE_MALFORMED');
  });
});

/** The template without `restricted`. */
function unrestricted(): Uint8Array {
  const template = ECC_AK_TEMPLATE.slice();
  template[5] = (template[5] ?? 0) & ~0x01;
  return template;
}

describe('templates', () => {
  test(
    'are found with a size in front or without one; anything else is refused with a code',
    () => {
      const type = fc.constantFrom([0, 1], [0, 0x23]);
      const property = fc.property(type, fc.uint8Array({ minLength: 40, maxLength: 200 }), (start, rest) => {
        const template = concat(Uint8Array.from(start), rest);
        expect(readTemplate(template)).toEqual(template);
        expect(readTemplate(tpm2b(template))).toEqual(template);
        expect(() => readTemplate(concat(Uint8Array.of(9, 9), rest))).toThrow(Refusal);
        expect(() => readTemplate(rest.subarray(0, 1))).toThrow(Refusal);
      });
      fc.assert(property, propertyRuns(200));
    },
    PROPERTY_TIMEOUT,
  );
});
