import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { canonicalize, namespacesIn } from '../../../../attestation/evidence/nvidia/canonicalXml.ts';
import { elementsOf, parseXml } from '../../../../attestation/evidence/nvidia/xml.ts';

const NONE: ReadonlyMap<string, string> = new Map();

function canonical(xml: string): string {
  return fromUtf8(canonicalize(parseXml(utf8(xml)), NONE));
}

/** Rules and examples of Canonical XML 1.1 sections 2.3 and 3, less what needs a DTD. */
describe('canonicalize', () => {
  test.each([
    ['empty elements get an end tag', '<a/>', '<a></a>'],
    ['space in tags goes', '<a   b = "c"  ></a  >', '<a b="c"></a>'],
    ['space in content stays', '<a> <b/>\n</a>', '<a> <b></b>\n</a>'],
    [
      'attributes by namespace, then name; declarations first, by prefix',
      `<e attr="1" b:attr="2" a:attr="3" attr2="4" xmlns:b="urn:a" xmlns:a="urn:b" xmlns="urn:c"/>`,
      '<e xmlns="urn:c" xmlns:a="urn:b" xmlns:b="urn:a" attr="1" attr2="4" b:attr="2" a:attr="3"></e>',
    ],
    [
      'declarations that an ancestor carries are not repeated',
      '<a xmlns="urn:a"><b xmlns=""><c xmlns="urn:a"><d xmlns="urn:a"/></c></b></a>',
      '<a xmlns="urn:a"><b xmlns=""><c xmlns="urn:a"><d></d></c></b></a>',
    ],
    ['an empty default namespace at the apex is not written', '<a xmlns=""/>', '<a></a>'],
    ['unused declarations stay', '<a xmlns:x="urn:x"><b/></a>', '<a xmlns:x="urn:x"><b></b></a>'],
    [
      'a redeclared prefix is written again',
      '<a xmlns:x="urn:x"><x:b xmlns:x="urn:y"><x:c xmlns:x="urn:x"/></x:b></a>',
      '<a xmlns:x="urn:x"><x:b xmlns:x="urn:y"><x:c xmlns:x="urn:x"></x:c></x:b></a>',
    ],
    ['text escapes', '<a>&lt;&#62;&amp;"\'&#x41;</a>', '<a>&lt;&gt;&amp;"\'A</a>'],
    ['carriage returns as references', '<a b="&#13;">\r\n&#xD;</a>', '<a b="&#xD;">\n&#xD;</a>'],
    [
      'attribute escapes',
      `<a b='"&lt;>&amp;&#9;&#10;' c='x\ty'/>`,
      '<a b="&quot;&lt;>&amp;&#x9;&#xA;" c="x y"></a>',
    ],
  ])('%s', (_, xml, expected) => {
    expect(canonical(xml)).toBe(expected);
    expect(canonical(expected)).toBe(expected);
  });

  test('the apex of a subtree carries all namespaces in scope', () => {
    const root = parseXml(utf8('<r xmlns="urn:r" xmlns:z="urn:z"><b:s xmlns:b="urn:b"><b:t/></b:s></r>'));
    const [subtree] = elementsOf(root);
    const written = fromUtf8(canonicalize(subtree!, namespacesIn(root, NONE)));
    expect(written).toBe('<b:s xmlns="urn:r" xmlns:b="urn:b" xmlns:z="urn:z"><b:t></b:t></b:s>');
  });

  test('the omitted element leaves the text around it', () => {
    const root = parseXml(utf8('<r>1<a/>2</r>'));
    const omitted = root.children.find((child) => typeof child !== 'string');
    expect(fromUtf8(canonicalize(root, NONE, omitted))).toBe('<r>12</r>');
  });
});
