import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { NVIDIA_ANCHORS } from '../../../../attestation/evidence/nvidia/anchors.ts';
import { verifyRim, type VerifiedRim } from '../../../../attestation/evidence/nvidia/rim.ts';
import { readPayload } from '../../../../attestation/evidence/nvidia/swid.ts';
import { elementsOf, parseXml } from '../../../../attestation/evidence/nvidia/xml.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { CaseFolder, CORPUS, refusalCode, refusalOf } from './corpusCases.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

/** For property tests on a busy machine, milliseconds. */

describeCorpus('verifyRim', CORPUS, (corpus) => {
  const options = (verifyAt: string, crypto = nodeCrypto) => ({
    crypto,
    now: Date.parse(verifyAt),
    anchors: NVIDIA_ANCHORS,
  });
  const set = new CaseFolder(corpus, 'rim-set-a');
  const full = new CaseFolder(corpus, 'h100-550.90.07-full');
  const genuine = full.text('driver.rim.xml');
  const refusal = (xml: string) => refusalOf(() => verifyRim(utf8(xml), options(full.data.verifyAt)));

  interface RimFacts {
    readonly product: string;
    readonly colloquialVersion: string;
    readonly resources: number;
    readonly active: readonly number[];
    readonly alternatives: Readonly<Record<string, number>>;
  }

  function factsOf({ product, version, measurements }: VerifiedRim): RimFacts {
    const list = [...measurements];
    const several = list.filter(([, { alternatives }]) => alternatives.length > 1);
    return {
      product,
      colloquialVersion: version,
      resources: list.length,
      active: list.filter(([, { active }]) => active).map(([index]) => index),
      alternatives: Object.fromEntries(several.map(([index, value]) => [index, value.alternatives.length])),
    };
  }

  const verdicts = Object.entries(set.data.expected.files ?? {});
  const passing = verdicts.flatMap(([file, { verdict }]) => (verdict === 'pass' ? [file] : []));

  test.each(passing)('rim-set-a %s verifies and gives its facts', async (file) => {
    const { checks } = set.data.checks[file] as unknown as { checks: RimFacts };
    for (const crypto of [nodeCrypto, portableCrypto]) {
      const rim = await verifyRim(set.bytes(file), options(set.data.verifyAt, crypto));
      expect(checks).toMatchObject(factsOf(rim));
      expect(rim).toMatchObject({ edition: 'GPU', anchor: { role: 'nvidia-rim', simulated: false } });
    }
  });

  test.each([
    ['rim-set-a', 'driver-gh100-550.144.03.bad-signature.rim.xml', 'SIGNATURE_INVALID'],
    ['rim-set-a', 'vbios-gb100-97.00.83.00.09.debug-chain.rim.xml', 'UNTRUSTED_ROOT'],
    ['rim-key-confusion', 'keyvalue.rim.xml', 'MALFORMED'],
    ['rim-key-confusion', 'foreign-cert-first.rim.xml', 'CERT_CHAIN_INVALID'],
    ['rim-dtd', 'driver.rim.xml', 'MALFORMED'],
    ['h100-535.86.09-rim-negative', 'driver.rim.xml', 'SIGNATURE_INVALID'],
  ])('%s %s: %s', async (id, file, code) => {
    const folder = new CaseFolder(corpus, id);
    const verifying = () => verifyRim(folder.bytes(file), options(folder.data.verifyAt));
    expect(await refusalOf(verifying)).toBe(code);
  });

  describe('which key verifies', () => {
    const confusion = (file: string) => new CaseFolder(corpus, 'rim-key-confusion').text(file);

    test('without its KeyValue, the forged manifest fails under the key of the judged leaf', async () => {
      const forged = confusion('keyvalue.rim.xml').replace(/<ds:KeyValue>.*<\/ds:KeyValue>/s, '');
      expect(await refusal(forged)).toBe('SIGNATURE_INVALID');
    });

    test('with four certificates, the foreign one first is refused by the chain', async () => {
      const [before, ...certificates] = confusion('foreign-cert-first.rim.xml').split('<ds:X509Certificate>');
      const four = [before, certificates[0], ...certificates.slice(2)].join('<ds:X509Certificate>');
      expect(await refusal(four)).toBe('CERT_CHAIN_INVALID');
    });

    test('with the foreign certificate last, its key is no leaf', async () => {
      const parts = confusion('foreign-cert-first.rim.xml').split('<ds:X509Certificate>');
      const [before, foreign, ...rest] = parts as [string, string, ...string[]];
      const last = rest.at(-1)!.replace('</ds:X509Certificate>', '');
      expect(last).not.toBe(foreign);
      expect(await refusal([before, ...rest].join('<ds:X509Certificate>'))).toBe('SIGNATURE_INVALID');
    });

    test('the device root does not verify a manifest', async () => {
      const anchors = NVIDIA_ANCHORS.filter(({ role }) => role === 'nvidia-device');
      const verifying = () =>
        verifyRim(full.bytes('driver.rim.xml'), { ...options(full.data.verifyAt), anchors });
      expect(await refusalOf(verifying)).toBe('UNTRUSTED_ROOT');
    });
  });

  test.each([
    ['2026-03-01T00:00:00Z', 'vbios.rim.xml', 'CERT_EXPIRED'],
    ['2026-03-01T00:00:00Z', 'driver.rim.xml', 'accepted'],
    ['2026-07-01T00:00:00Z', 'driver.rim.xml', 'CERT_EXPIRED'],
  ])('at %s %s is %s', async (time, file, outcome) => {
    expect(await refusalOf(() => verifyRim(full.bytes(file), options(time)))).toBe(outcome);
  });

  test('the LS10 manifest before its signer is valid', async () => {
    const ls10 = new CaseFolder(corpus, 'ls10-96.10.55.00.01-full');
    const at = ls10.change('before-rim-signer-validity').verifyAt!;
    expect(await refusalOf(() => verifyRim(ls10.bytes('bios.rim.xml'), options(at)))).toBe('CERT_EXPIRED');
  });

  /** What changes nothing in the canonical form leaves the signature valid and the values the same. */
  test.each([
    ['lines ended by CR LF', (xml: string) => xml.replaceAll('\n', '\r\n')],
    ['single quotes', (xml: string) => xml.replaceAll(/="([^"]*)"/g, "='$1'")],
    [
      'end tags instead of empty elements',
      (xml: string) => xml.replaceAll(/<([^\s<>]+)( [^<>]*)\/>/g, '<$1$2></$1>'),
    ],
    [
      'attributes in another order',
      (xml: string) => xml.replaceAll(/(index="\d+") (active="\w+")/g, '$2 $1'),
    ],
    [
      'line breaks between attributes',
      (xml: string) => xml.replaceAll(' alternatives=', '\n\t alternatives='),
    ],
    ['character references', (xml: string) => xml.replace('product="GH100"', 'product="&#71;H&#x31;00"')],
    ['white space after the root', (xml: string) => `${xml}\n\n`],
    [
      'a repeated namespace declaration',
      (xml: string) =>
        xml.replace(
          '<ns0:Entity ',
          '<ns0:Entity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" ',
        ),
    ],
  ])('%s', async (_, change) => {
    const changed = change(genuine);
    expect(changed).not.toBe(genuine);
    const [a, b] = await Promise.all(
      [genuine, changed].map((xml) => verifyRim(utf8(xml), options(full.data.verifyAt))),
    );
    expect(b).toEqual(a);
  });

  test.each([
    ['another golden value', (xml: string) => xml.replace('80161aac', '80161aad')],
    ['an inactive index made active', (xml: string) => xml.replace('active="False"', 'active="True"')],
    ['another version', (xml: string) => xml.replace('550.90.07', '550.90.08')],
    ['another prefix for a namespace', (xml: string) => xml.replaceAll('ns2', 'ns9')],
    ['white space inside the payload', (xml: string) => xml.replace('<ns0:Resource', ' <ns0:Resource')],
    [
      'a namespace declared on the root',
      (xml: string) => xml.replace(' corpus=', ' xmlns:x="urn:x" corpus='),
    ],
    ['another digest', (xml: string) => xml.replace('DigestValue>gM', 'DigestValue>gN')],
    [
      'a signature of zeros',
      (xml: string) => xml.replace(/(<ds:SignatureValue>)[^<]*/, `$1${btoa('\0'.repeat(96))}`),
    ],
    ['a short signature', (xml: string) => xml.replace(/(<ds:SignatureValue>)[^<]*/, `$1${btoa('\0')}`)],
  ])('%s: SIGNATURE_INVALID', async (_, change) => {
    const changed = change(genuine);
    expect(changed).not.toBe(genuine);
    expect(await refusal(changed)).toBe('SIGNATURE_INVALID');
  });

  const SIGNATURE = /<ds:Signature .*<\/ds:Signature>/s;
  const layout: readonly (readonly [string, (xml: string) => string, string?])[] = [
    ['no signature', (xml) => xml.replace(SIGNATURE, '')],
    ['two signatures', (xml) => xml.replace(SIGNATURE, '$&$&')],
    [
      'a signature inside another element',
      (xml) => xml.replace('</ns0:Payload>', `${SIGNATURE.exec(xml)![0]}$&`),
    ],
    [
      'only a nested signature',
      (xml) => xml.replace(SIGNATURE, '').replace('</ns0:Payload>', `${SIGNATURE.exec(xml)![0]}$&`),
    ],
    ['an Object', (xml) => xml.replace('</ds:Signature>', '<ds:Object></ds:Object>$&')],
    ['data inside the signature', (xml) => xml.replace('</ds:Signature>', '<ns0:Payload/>$&')],
    ['text inside the signature', (xml) => xml.replace('</ds:Signature>', 'x$&')],
    ['an Id on the signature', (xml) => xml.replace('<ds:Signature ', '$&Id="a" ')],
    ['a second reference', (xml) => xml.replace(/<ds:Reference.*<\/ds:Reference>/s, '$&$&')],
    ['a reference to an element', (xml) => xml.replace('URI=""', 'URI="#a"')],
    ['a reference without URI', (xml) => xml.replace(' URI=""', '')],
    ['a third transform', (xml) => xml.replace(/<ds:Transform [^>]*>/, '$&$&')],
    ['one transform', (xml) => xml.replace(/<ds:Transform [^>]*>/, '')],
    [
      'an XPath inside a transform',
      (xml) =>
        xml.replace(/<ds:Transform ([^>]*)\/>/, '<ds:Transform $1><ds:XPath>x</ds:XPath></ds:Transform>'),
    ],
    [
      'transforms exchanged',
      (xml) => xml.replace(/(<ds:Transform [^>]*>)(<ds:Transform [^>]*>)/, '$2$1'),
      'UNSUPPORTED',
    ],
    [
      'another canonicalization',
      (xml) => xml.replace('2006/12/xml-c14n11', '2001/10/xml-exc-c14n#'),
      'UNSUPPORTED',
    ],
    ['an HMAC', (xml) => xml.replace('xmldsig-more#ecdsa-sha384', 'xmldsig-more#hmac-sha384'), 'UNSUPPORTED'],
    ['another digest method', (xml) => xml.replace('xmldsig-more#sha384', 'xmlenc#sha256'), 'UNSUPPORTED'],
    ['a key name', (xml) => xml.replace('<ds:KeyInfo>', '$&<ds:KeyName>a</ds:KeyName>')],
    ['a second X509Data', (xml) => xml.replace('</ds:KeyInfo>', '<ds:X509Data/>$&')],
    ['an issuer serial', (xml) => xml.replace('<ds:X509Data>', '$&<ds:X509IssuerSerial/>')],
    ['no certificates', (xml) => xml.replace(/(<ds:X509Data>).*(<\/ds:X509Data>)/s, '$1$2'), 'CERT_MISSING'],
    [
      'a hundred certificates',
      (xml) => xml.replace('<ds:X509Data>', `$&${'<ds:X509Certificate/>'.repeat(100)}`),
    ],
    ['an empty certificate', (xml) => xml.replace('<ds:X509Data>', '$&<ds:X509Certificate/>')],
    ['base64 that is not canonical', (xml) => xml.replace('</ds:DigestValue>', '=$&')],
    ['a comment', (xml) => xml.replace('<ns0:Payload', '<!-- a -->$&')],
    ['a comment after the root', (xml) => `${xml}<!-- a -->`],
    ['CDATA', (xml) => xml.replace('<ns0:Payload', '<![CDATA[ ]]>$&')],
    ['a processing instruction', (xml) => `<?a b?>${xml}`],
    ['a DOCTYPE in lower case', (xml) => `<!doctype SoftwareIdentity>${xml}`],
    ['a DOCTYPE after white space', (xml) => ` \n<!DOCTYPE SoftwareIdentity>${xml}`],
    ['an entity that is not predefined', (xml) => xml.replace('name="GH100"', 'name="&a;"')],
    ['an HTML entity', (xml) => xml.replace('name="GH100"', 'name="&copy;"')],
    ['a reference to a control character', (xml) => xml.replace('name="GH100"', 'name="&#1;"')],
    ['a bare ampersand', (xml) => xml.replace('name="GH100"', 'name="G & H"')],
    ['an attribute without quotes', (xml) => xml.replace('name="GH100"', 'name=GH100')],
    ['an attribute twice', (xml) => xml.replace('name="GH100"', '$& $&')],
    ['a prefix that is not declared', (xml) => xml.replace('<ns0:Entity', '<ns0:Entity a:b="c"')],
    ['an xml: attribute', (xml) => xml.replace('<ns0:Entity', '<ns0:Entity xml:space="preserve"')],
    ['an element that is not closed', (xml) => xml.replace('</ns0:Payload>', '')],
    ['two roots', (xml) => `${xml}<a/>`],
    ['text after the root', (xml) => `${xml}a`],
    ['a byte order mark', (xml) => `\uFEFF${xml}`],
    ['a letter that is not ASCII', (xml) => xml.replace('NVIDIA', 'NVIDI\u00C1')],
    ['a NUL', (xml) => `${xml}\0`],
    ['nothing', () => ''],
    ['depth', (xml) => xml.replace('<ns0:Payload', `${'<a>'.repeat(20)}${'</a>'.repeat(20)}$&`)],
    ['too many tags', (xml) => xml.replace('<ns0:Payload', `${'<a/>'.repeat(2048)}$&`)],
    [
      'too many attributes',
      (xml) => {
        const many = Array.from({ length: 200 }, (_, i) => `a${i}=""`).join(' ');
        return xml.replace('name="GH100"', `$& ${many}`);
      },
    ],
    ['more than 4 MiB', (xml) => xml + ' '.repeat(4 * 1024 * 1024)],
  ];

  test.each(layout)('%s', async (_, change, code = 'MALFORMED') => {
    const changed = change(genuine);
    expect(changed).not.toBe(genuine);
    expect(await refusal(changed)).toBe(code);
  });

  test('bytes that are not UTF-8', async () => {
    const verifying = () => verifyRim(Uint8Array.of(0xff, 0xfe), options(full.data.verifyAt));
    expect(await refusalOf(verifying)).toBe('MALFORMED');
  });

  test(
    'a mutated manifest is refused with a code or has the same values',
    async () => {
      const bytes = full.bytes('driver.rim.xml');
      const original = await verifyRim(bytes, options(full.data.verifyAt));
      const edit = fc.record({
        at: fc.nat(bytes.length - 1),
        remove: fc.nat(40),
        insert: fc.oneof(
          fc.constantFrom('<!--', '-->', '<a>', '&lt;', '"', ' ', '\n', '/>', 'ns0:', 'active="True" '),
          fc.string({ maxLength: 3 }),
        ),
      });
      const property = fc.asyncProperty(edit, async ({ at, remove, insert }) => {
        const text = fromUtf8(bytes);
        const xml = utf8(text.slice(0, at) + insert + text.slice(at + remove));
        try {
          expect(await verifyRim(xml, options(full.data.verifyAt))).toEqual(original);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
        }
      });
      await fc.assert(property, propertyRuns(125));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'text that moves between places of a manifest never gives other values',
    async () => {
      const bytes = full.bytes('driver.rim.xml');
      const text = fromUtf8(bytes);
      const original = await verifyRim(bytes, options(full.data.verifyAt));
      const lines = text.split('\n');
      const property = fc.asyncProperty(
        fc.nat(lines.length - 1),
        fc.nat(lines.length - 1),
        async (from, to) => {
          const moved = lines.toSpliced(from, 1).toSpliced(to, 0, lines[from]!);
          try {
            const rim = await verifyRim(utf8(moved.join('\n')), options(full.data.verifyAt));
            expect(rim).toEqual(original);
          } catch (error) {
            if (!(error instanceof Refusal)) throw error;
          }
        },
      );
      await fc.assert(property, propertyRuns(50));
    },
    PROPERTY_TIMEOUT,
  );
});

describeCorpus('readPayload', CORPUS, (corpus) => {
  const folder = new CaseFolder(corpus, 'rim-malformed-a');
  const files = Object.entries(folder.data.expected.files ?? {});

  test.each(files)('rim-malformed-a %s', async (file, { parse }) => {
    const reading = () => elementsOf(parseXml(folder.bytes(file))).map((element) => readPayload(element));
    const outcome = refusalCode(() => {
      if (reading().length !== 1) throw new Refusal('MALFORMED', 'no payload');
    });
    expect(outcome).toBe(parse === 'ok' ? 'accepted' : 'MALFORMED');
    const options = { crypto: nodeCrypto, now: 0, anchors: NVIDIA_ANCHORS };
    expect(await refusalOf(() => verifyRim(folder.bytes(file), options))).toBe('MALFORMED');
  });
});
