import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { kindOf } from '../../../attestation/recognition/ownKinds.ts';
import { describeCollateral } from '../../../src/collateral/describe.ts';
import { CollateralError } from '../../../src/collateral/errors.ts';
import { encodeCollateralFile, parseCollateralFile } from '../../../attestation/bundle/collateralFile.ts';
import type { CollateralNeed } from '../../../src/collateral/need.ts';
import { ocspNeed } from '../../../src/collateral/ocsp.ts';
import { checkReceived } from '../../../src/collateral/source.ts';
import { AUTHORITY, certificateOf, respond } from '../../support/ocspAuthority.ts';
import { refusalOf } from '../../support/refusal.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';
import { issueBundle, makeWorld } from '../../support/world.ts';
import { FMSPC, mintIntel, mintIssuer, NOW, qeIdentity, tcbInfo, type MintedIntel } from './minted.ts';

const OCSP_NEED = ocspNeed(certificateOf(AUTHORITY.rimSigner), certificateOf(AUTHORITY.rimIssuer));
const OCSP_RESPONSE = respond(AUTHORITY.rimIssuer, certificateOf(AUTHORITY.rimSigner));

let intel: MintedIntel;
let full: Collateral;
beforeAll(async () => {
  intel = await mintIntel();
  const signed = (body: string) => ({ body: utf8(body), issuerChain: [intel.root.der] });
  full = {
    ...NO_COLLATERAL,
    rims: (await makeWorld()).collateral.rims,
    crls: [await intel.platformCa.crl(), await intel.root.crl()],
    certificates: [intel.platformCa.der],
    tcbInfos: [signed(tcbInfo())],
    qeIdentities: [signed(qeIdentity())],
    ocspResponses: [OCSP_RESPONSE],
  };
});

describe('the saved form', () => {
  test('gives back what was put in', () => {
    expect(parseCollateralFile(encodeCollateralFile(full))).toEqual(full);
    expect(parseCollateralFile(encodeCollateralFile(NO_COLLATERAL))).toEqual(NO_COLLATERAL);
  });

  test('is the same for the same statements', () => {
    const again = { ...full, rims: new Map([...full.rims].reverse()) };
    expect(encodeCollateralFile(again)).toEqual(encodeCollateralFile(full));
  });

  test('is told from other files by its start', async () => {
    expect(kindOf(encodeCollateralFile(full))).toBe('collateral');
    expect(kindOf(encodeCollateralFile(NO_COLLATERAL))).toBe('collateral');
    const { bundle } = await issueBundle(await makeWorld());
    expect(kindOf(bundle)).toBe('bundle');
  });

  test.each([
    ['of another version', () => label('vouchsafe/collateral/2')],
    ['without a label', () => encodeDc(new Map([['collateral', encodeCollateral(full)]]))],
    ['without content', () => encodeDc(new Map([['format', 'vouchsafe/collateral/1']]))],
    [
      'with something more',
      () =>
        encodeDc(
          new Map<string, never>([
            ['format', 'vouchsafe/collateral/1' as never],
            ['collateral', encodeCollateral(full) as never],
            ['note', 'x' as never],
          ]),
        ),
    ],
    ['cut', () => encodeCollateralFile(full).subarray(0, -1)],
    ['with something behind it', () => Buffer.concat([encodeCollateralFile(full), Buffer.of(0)])],
  ])('a file %s is refused', (_how, file) => {
    expect(refusalOf(() => parseCollateralFile(file()))?.code).toBe('MALFORMED');
  });

  function label(format: string): Uint8Array {
    return encodeDc(
      new Map([
        ['format', format as never],
        ['collateral', encodeCollateral(full) as never],
      ]),
    );
  }

  test(
    'any byte altered is refused, or gives other content',
    () => {
      const encoded = encodeCollateralFile(full);
      fc.assert(
        fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
          const altered = encoded.slice();
          altered[at] = altered[at]! ^ mask;
          const parsed = attempt(() => parseCollateralFile(altered));
          if (parsed) {
            expect(equalBytes(encodeCollateralFile(parsed), altered)).toBe(true);
            describeCollateral(parsed);
          }
        }),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

describe('what it says of itself', () => {
  test('names, windows and sizes of every kind', () => {
    const said = describeCollateral(full);
    expect(said.map(({ kind }) => kind)).toEqual([
      'certificate',
      'CRL',
      'CRL',
      'OCSP response',
      'TCB info',
      'QE identity',
      ...[...full.rims].map(() => 'RIM'),
    ]);
    expect(said[0]).toMatchObject({ name: 'CN=Intel SGX PCK Platform CA' });
    expect(said[4]).toMatchObject({
      name: `TDX FMSPC ${FMSPC.toUpperCase()} (TCB evaluation 18)`,
      validity: { from: NOW - 10 * 86_400_000, until: NOW + 20 * 86_400_000 },
    });
    expect(said.every(({ validity, sha256 }) => validity !== undefined && sha256.length === 64)).toBe(true);
  });

  test('what cannot be read says why, and does not hide the rest', () => {
    const junk = utf8('junk');
    const broken: Collateral = {
      ...NO_COLLATERAL,
      rims: new Map([['NV_X', junk]]),
      crls: [junk],
      certificates: [junk, intel.root.der],
      ocspResponses: [junk],
      tcbInfos: [{ body: utf8('{}'), issuerChain: [] }],
      qeIdentities: [{ body: junk, issuerChain: [] }],
    };
    const said = describeCollateral(broken);
    expect(said.map(({ unreadable }) => unreadable !== undefined)).toEqual([
      true,
      false,
      true,
      true,
      true,
      true,
      true,
    ]);
    expect(said.at(-1)).toMatchObject({ kind: 'RIM', name: 'NV_X' });
  });
});

describe('what arrives', () => {
  const NEEDS: readonly CollateralNeed[] = [
    { kind: 'vcek', product: 'genoa', hwid: new Uint8Array(64), tcb: new Uint8Array(8) },
    { kind: 'amd-chain', product: 'genoa', endorses: 'vcek' },
    { kind: 'amd-crl', product: 'genoa' },
    { kind: 'tcb-info', tee: 'tdx', fmspc: FMSPC },
    { kind: 'qe-identity', tee: 'tdx' },
    { kind: 'pck-crl', ca: 'platform' },
    { kind: 'intel-root-crl' },
    { kind: 'rim', id: 'NV_X' },
    OCSP_NEED,
  ];

  test(
    'altered anyhow, is refused with a code or taken, and nothing else',
    async () => {
      const chain = [(await mintIssuer('Intel SGX PCK Platform CA')).der];
      const bodies = [
        ...full.rims.values(),
        ...full.crls,
        ...full.certificates,
        ...full.ocspResponses,
        ...[...full.tcbInfos, ...full.qeIdentities].map(({ body }) => body),
      ];
      const altered = fc.record({
        body: fc.constantFrom(...bodies),
        at: fc.nat(),
        bytes: fc.uint8Array({ maxLength: 4 }),
        cut: fc.boolean(),
        need: fc.constantFrom(...NEEDS),
      });
      fc.assert(
        fc.property(altered, ({ body, at, bytes, cut, need }) => {
          const changed = cut ? body.slice(0, at % body.length) : body.slice();
          changed.set(
            bytes.subarray(0, changed.length),
            Math.min(at % body.length, Math.max(0, changed.length - bytes.length)),
          );
          try {
            expect(checkReceived(need, { body: changed, chain }).need).toBe(need);
          } catch (error) {
            expect(error).toBeInstanceOf(CollateralError);
          }
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
