import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { readAttestationKey, tpmWay } from '../../../../enclave/collect/tpm/collector.ts';
import { defineNv, NV, undefineNv, writeNv } from '../../../../enclave/collect/tpm/nv.ts';
import { splitCertificates } from '../../../../enclave/collect/tpm/nvCertificates.ts';
import { waysOfThisMachine } from '../../../../enclave/collect/ways.ts';
import { checkConfig } from '../../../../src/config/load.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { testConfig } from '../../../support/service.ts';
import { describeSwtpm, startSwtpm, type Swtpm } from '../../../support/swtpm.ts';
import { certifyKey, mintTpmAuthority, type TpmAuthority } from '../../../support/tpmAuthority.ts';

const INDEX = 0x01c10002;
const element = (size: number) => concat(Uint8Array.of(0x30, size), new Uint8Array(size).fill(1));

describe('certificates in an NV index', () => {
  test('stand one behind the other, with zeros behind them', () => {
    const [first, second] = [element(3), element(100)];
    expect(splitCertificates(concat(first, second))).toEqual([first, second]);
    expect(splitCertificates(concat(first, new Uint8Array(50)))).toEqual([first]);
    expect(splitCertificates(new Uint8Array(50))).toEqual([]);
  });

  test(
    'that are no DER are refused',
    () => {
      expect(() => splitCertificates(concat(element(3), Uint8Array.of(0x30, 5, 1)))).toThrow(Refusal);
      const property = fc.property(fc.uint8Array({ maxLength: 200 }), (content) => {
        try {
          const found = splitCertificates(content);
          expect(content.subarray(0, concat(...found).length)).toEqual(concat(...found));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
        }
      });
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );

  test('are named by a setting that says which', () => {
    const hardware = (tpmCertificates: string) => ({ ...testConfig({}), hardware: { tpmCertificates } });
    expect(checkConfig(hardware('nv:0x01c10002')).hardware.tpmCertificates).toBe('nv:0x01c10002');
    expect(checkConfig(hardware('/etc/chain.pem')).hardware.tpmCertificates).toBe('/etc/chain.pem');
    for (const wrong of ['nv:', 'nv:0x01C10002', 'nv:0x81000001', 'nv:0x01c1000', 'nv:29425666']) {
      expect(() => checkConfig(hardware(wrong))).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    }
  });
});

describeSwtpm('a TPM that keeps its certificates', () => {
  let swtpm: Swtpm;
  let authority: TpmAuthority;
  let leaf: Uint8Array;
  const way = () => tpmWay({ address: swtpm.address, certificates: { nvIndex: INDEX } });

  async function keep(content: Uint8Array): Promise<void> {
    const area = {
      index: INDEX,
      attributes: NV.ownerWrite | NV.ownerRead | NV.authRead,
      size: content.length,
    };
    await defineNv(swtpm.session, area);
    await writeNv(swtpm.session, area, content);
  }

  beforeAll(async () => {
    [swtpm, authority] = await Promise.all([startSwtpm(), mintTpmAuthority('tpm')]);
    leaf = await certifyKey(authority, await readAttestationKey({ address: swtpm.address }));
  });
  afterAll(() => swtpm.stop());

  test('cannot be used while there are none', async () => {
    expect(await way().find()).toMatchObject({ state: 'absent' });
    expect(await collectFailure(() => way().open())).toBe('DEVICE_MISSING');
  });

  test('gives evidence with them', async () => {
    await keep(concat(leaf, authority.ca, new Uint8Array(10)));
    expect(await way().find()).toMatchObject({
      state: 'usable',
      detail: expect.stringContaining('2 certificates'),
    });
    const collector = await way().open();
    const evidence = await collector.collect(new Uint8Array(64));
    expect(evidence).toMatchObject({ tpm: { certificates: [leaf, authority.ca] } });
    await collector.close();
    await undefineNv(swtpm.session, INDEX);
  });

  test('is refused with what is no certificate of its key', async () => {
    await keep(authority.ca);
    expect(await collectFailure(() => way().open())).toBe('EVIDENCE_MISMATCH');
    await undefineNv(swtpm.session, INDEX);
    await keep(new Uint8Array(20).fill(0xff));
    expect(await collectFailure(() => way().open())).toBe('EVIDENCE_MALFORMED');
    await undefineNv(swtpm.session, INDEX);
    await keep(new Uint8Array(20));
    expect(await collectFailure(() => way().open())).toBe('EVIDENCE_MALFORMED');
    await undefineNv(swtpm.session, INDEX);
  });

  test('is one of the ways of the machine', () => {
    const { cpu } = waysOfThisMachine({ tpm: undefined, tpmCertificates: { nvIndex: INDEX } });
    expect(cpu.map(({ name }) => name)).toContain('tpm');
  });
});
