import { fromUtf8, toHex } from '../bytes/bytes.ts';
import type { Sha256 } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { KEY_TYPE, parseVkey, type KeyType, type Vkey } from './vkey.ts';
import type { WitnessRule } from './witnesses.ts';

const MAX_BYTES = 64 * 1024;
/** The specification asks for 32 of each kind at least. */
const MAX_LINES = 512;

export interface NamedUrl {
  readonly vkey: Vkey;
  readonly url: string | undefined;
}

/** A C2SP tlog-policy: which logs, and which witnesses must have seen a checkpoint. */
export interface WitnessPolicy {
  readonly logs: readonly NamedUrl[];
  readonly witnesses: readonly (NamedUrl & { readonly name: string })[];
  /** Undefined for `quorum none`. */
  readonly quorum: WitnessRule | undefined;
}

/**
 * Parses the text of a C2SP tlog-policy. A name is defined before it is used, once, and is a member of one group at
 * most; no key is there twice. We ask for UTF-8, where the specification takes any bytes.
 */
export function parseWitnessPolicy(bytes: Uint8Array, sha256: Sha256): WitnessPolicy {
  if (bytes.length > MAX_BYTES) throw new Refusal('MALFORMED', `witness policy exceeds ${MAX_BYTES} bytes`);
  const text = fromUtf8(bytes);
  // eslint-disable-next-line no-control-regex -- what the specification rules out
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) throw malformed(0, 'a control character');
  if (text !== '' && !text.endsWith('\n')) throw malformed(0, 'its last line does not end');
  const lines = text.split('\n').slice(0, -1);
  if (lines.length > MAX_LINES) throw malformed(0, `more than ${MAX_LINES} lines`);
  const reader = new PolicyReader(sha256);
  for (const [i, line] of lines.entries()) {
    const words = line.split(/[ \t]+/).filter((word) => word !== '');
    if (words.length > 0 && !words[0]?.startsWith('#')) reader.line(i + 1, words);
  }
  return reader.policy();
}

class PolicyReader {
  readonly #sha256: Sha256;
  readonly #logs: NamedUrl[] = [];
  readonly #witnesses: WitnessPolicy['witnesses'][number][] = [];
  readonly #defined = new Map<string, WitnessRule>();
  readonly #used = new Set<string>();
  #quorum: { readonly rule: WitnessRule | undefined } | undefined;

  constructor(sha256: Sha256) {
    this.#sha256 = sha256;
  }

  line(number: number, [keyword = '', ...words]: readonly string[]): void {
    if (keyword === 'log') this.#log(number, words);
    else if (keyword === 'witness') this.#witness(number, words);
    else if (keyword === 'group') this.#group(number, words);
    else if (keyword === 'quorum') this.#setQuorum(number, words);
    else throw malformed(number, `unknown word ${keyword.slice(0, 40)}`);
  }

  policy(): WitnessPolicy {
    if (!this.#quorum) throw malformed(0, 'no quorum line');
    return { logs: this.#logs, witnesses: this.#witnesses, quorum: this.#quorum.rule };
  }

  #log(number: number, words: readonly string[]): void {
    const [key = '', url] = counted(number, words, 1, 2);
    const vkey = this.#vkey(number, key, KEY_TYPE.ed25519);
    if (this.#logs.some((log) => isSameKey(log.vkey, vkey))) throw malformed(number, 'a log key twice');
    this.#logs.push({ vkey, url });
  }

  #witness(number: number, words: readonly string[]): void {
    const [name = '', key = '', url] = counted(number, words, 2, 3);
    const vkey = this.#vkey(number, key, KEY_TYPE.cosignature);
    if (this.#witnesses.some((witness) => isSameKey(witness.vkey, vkey))) {
      throw malformed(number, 'a witness key twice');
    }
    const witness = { name, vkey };
    this.#define(number, name, { kind: 'witness', witness });
    this.#witnesses.push({ ...witness, url });
  }

  #group(number: number, words: readonly string[]): void {
    const [name = '', count = '', ...names] = counted(number, words, 3, Number.POSITIVE_INFINITY);
    const members = names.map((member) => {
      if (this.#used.has(member)) throw malformed(number, `${member} is in a group already`);
      this.#used.add(member);
      return this.#named(number, member);
    });
    this.#define(number, name, {
      kind: 'group',
      threshold: threshold(number, count, members.length),
      members,
    });
  }

  #setQuorum(number: number, words: readonly string[]): void {
    const [name = ''] = counted(number, words, 1, 1);
    if (this.#quorum) throw malformed(number, 'a second quorum line');
    this.#quorum = { rule: name === 'none' ? undefined : this.#named(number, name) };
  }

  #define(number: number, name: string, rule: WitnessRule): void {
    if (name === 'none' || this.#defined.has(name)) throw malformed(number, `${name} is defined already`);
    this.#defined.set(name, rule);
  }

  #named(number: number, name: string): WitnessRule {
    const rule = this.#defined.get(name);
    if (!rule) throw malformed(number, `${name} is not defined above`);
    return rule;
  }

  #vkey(number: number, text: string, type: KeyType): Vkey {
    const vkey = parseVkey(text, this.#sha256);
    if (vkey.type !== type) throw malformed(number, `the key of ${vkey.name} is of another role`);
    return vkey;
  }
}

function counted(number: number, words: readonly string[], least: number, most: number): readonly string[] {
  if (words.length < least || words.length > most) throw malformed(number, 'too few or too many words');
  return words;
}

function threshold(number: number, count: string, members: number): number {
  if (count === 'any') return 1;
  if (count === 'all') return members;
  const value = Number(count);
  if (!/^[1-9]\d{0,3}$/.test(count) || value > members) {
    throw malformed(number, `${count.slice(0, 40)} of ${members} members`);
  }
  return value;
}

function isSameKey(a: Vkey, b: Vkey): boolean {
  return toHex(a.publicKey) === toHex(b.publicKey);
}

/** Line 0 is the whole. */
function malformed(line: number, detail: string): Refusal {
  return new Refusal('MALFORMED', `witness policy${line > 0 ? `, line ${line}` : ''}: ${detail}`);
}
