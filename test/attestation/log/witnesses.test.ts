import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { formatNote, parseNote, type Note } from '../../../attestation/log/note.ts';
import { encodeVkey, makeVkey } from '../../../attestation/log/vkey.ts';
import { parseWitnessPolicy } from '../../../attestation/log/witnessPolicy.ts';
import { quorumOf, verifyWitnesses, type WitnessRule } from '../../../attestation/log/witnesses.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { mintWitness, type MintedWitness } from '../../support/witnessedBundle.ts';

const sha256 = sha256With(nodeCrypto);
const TEXT = encodeCheckpoint({
  origin: 'example.com/log',
  size: 3,
  root: new Uint8Array(32),
  extensions: [],
});
const witnesses = ['a', 'b', 'c', 'd'].map((name) => mintWitness(`${name}.example`)) as [
  MintedWitness,
  MintedWitness,
  MintedWitness,
  MintedWitness,
];
const [a, b, c, d] = witnesses;
const logKey = encodeVkey(makeVkey(sha256, 'example.com/log', new Uint8Array(32).fill(1)));

/** Seconds at which each signed. */
function noteOf(...signed: readonly (readonly [MintedWitness, number])[]): Note {
  return parseNote(
    formatNote(
      TEXT,
      signed.map(([witness, seconds]) => witness.cosign(TEXT, seconds * 1000)),
    ),
  );
}

function ruleOf(text: string): WitnessRule {
  const { quorum } = parseWitnessPolicy(utf8(text), sha256);
  if (!quorum) throw new Error('no quorum');
  return quorum;
}

describe('verifyWitnesses', () => {
  const rule = quorumOf(2, [a.vkey, b.vkey, c.vkey]);

  test('counts each trusted witness once, and gives the times of the quorum', async () => {
    const note = noteOf([c, 30], [a, 10], [a, 5], [b, 20], [d, 1]);
    expect(await verifyWitnesses(note, rule, nodeCrypto)).toEqual({
      count: 3,
      names: ['a.example', 'b.example', 'c.example'],
      times: [5, 20, 30],
      met: { earliest: 20, latest: 20 },
    });
  });

  test('fewer than the quorum give no time', async () => {
    expect(await verifyWitnesses(noteOf([a, 10], [d, 1]), rule, nodeCrypto)).toMatchObject({
      count: 1,
      met: undefined,
    });
  });

  test('a cosignature that does not verify is refused, whatever the others say', async () => {
    const { name, keyId } = c.vkey;
    const forged = { name, keyId, signature: new Uint8Array(72) };
    const own = [a, b].map((witness) => witness.cosign(TEXT, 1000));
    const note = parseNote(formatNote(TEXT, [...own, forged]));
    expect((await refusalOfAsync(() => verifyWitnesses(note, rule, nodeCrypto)))?.code).toBe(
      'SIGNATURE_INVALID',
    );
  });

  test('two keys of one name are two witnesses', async () => {
    const other = mintWitness('a.example');
    const both = quorumOf(2, [a.vkey, other.vkey]);
    const met = async (...signed: readonly (readonly [MintedWitness, number])[]) =>
      (await verifyWitnesses(noteOf(...signed), both, nodeCrypto)).met;
    expect(await met([a, 1])).toBeUndefined();
    expect(await met([a, 1], [other, 2])).toEqual({ earliest: 2, latest: 1 });
  });

  test('groups of groups: all of one organisation and any of another', async () => {
    const nested = ruleOf(
      `log ${logKey}\nwitness A ${a.text}\nwitness B ${b.text}\nwitness C ${c.text}\nwitness D ${d.text}\n` +
        'group x all A B\ngroup y any C D\ngroup both 2 x y\nquorum both\n',
    );
    const met = async (...signed: readonly (readonly [MintedWitness, number])[]) =>
      (await verifyWitnesses(noteOf(...signed), nested, nodeCrypto)).met;
    expect(await met([a, 1], [c, 2], [d, 3])).toBeUndefined();
    expect(await met([a, 1], [b, 7], [d, 3])).toEqual({ earliest: 7, latest: 1 });
  });
});

describe('parseWitnessPolicy', () => {
  test('reads comments, white space, addresses and no quorum at all', () => {
    const text = `# trusted\n\n \tlog  ${logKey}\thttps://log.example/ \nwitness W ${a.text} https://a.example\nquorum none\n`;
    expect(parseWitnessPolicy(utf8(text), sha256)).toEqual({
      logs: [{ vkey: expect.objectContaining({ name: 'example.com/log' }), url: 'https://log.example/' }],
      witnesses: [{ name: 'W', vkey: a.vkey, url: 'https://a.example' }],
      quorum: undefined,
    });
  });

  const W = `witness A ${a.text}\nwitness B ${b.text}\n`;
  test.each([
    ['no quorum line', W],
    ['two quorum lines', `${W}quorum A\nquorum A\n`],
    ['a quorum of a name that comes later', `quorum A\n${W}`],
    ['a group of a name that comes later', `${W}group g any h\ngroup h any A\nquorum g\n`],
    ['a name twice', `witness A ${a.text}\nwitness A ${b.text}\nquorum A\n`],
    ['a witness key twice', `witness A ${a.text}\nwitness B ${a.text}\nquorum A\n`],
    ['a log key twice', `log ${logKey}\nlog ${logKey}\nquorum none\n`],
    ['a member of two groups', `${W}group g any A\ngroup h any A B\nquorum g\n`],
    ['a member twice in a group', `${W}group g any A A\nquorum g\n`],
    ['none as a member', `${W}group g any none\nquorum g\n`],
    ['none as a name', `witness none ${a.text}\nquorum none\n`],
    ['a threshold above the members', `${W}group g 3 A B\nquorum g\n`],
    ['a threshold of zero', `${W}group g 0 A B\nquorum g\n`],
    ['a threshold with leading zero', `${W}group g 01 A B\nquorum g\n`],
    ['a group without members', `${W}group g any\nquorum A\n`],
    ['a key of a log for a witness', `witness A ${logKey}\nquorum A\n`],
    ['a key of a witness for a log', `log ${a.text}\nquorum none\n`],
    ['an unknown word', `${W}threshold 2\nquorum A\n`],
    ['words after the quorum', `${W}quorum A B\n`],
    ['a carriage return', `${W}quorum A\r\n`],
    ['a last line that does not end', `${W}quorum A`],
    ['nothing', ''],
    ['513 lines', '\n'.repeat(513)],
    ['more than 64 KiB', ' '.repeat(64 * 1024 + 1)],
  ])('refuses %s', (_, text) => {
    expect(refusalOf(() => parseWitnessPolicy(utf8(text), sha256))?.code).toBe('MALFORMED');
  });
});
