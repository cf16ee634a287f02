import { z } from 'zod';
import { fromBase64, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With, type CryptoProvider } from '../../attestation/crypto/provider.ts';
import { cosignatureVerifier, verifyCosignature } from '../../attestation/log/cosignature.ts';
import { parseNote, verifyNote, type NoteVerifier } from '../../attestation/log/note.ts';
import { ed25519Verifier, encodeVkey, KEY_TYPE, parseVkey } from '../../attestation/log/vkey.ts';
import { expectEqual, expectRefused, PROVIDERS, type Case, type Family } from './family.ts';
import { listsMembers } from './vectorFile.ts';

const sha256 = sha256With(nodeCrypto);

const vkeySchema = z.object({
  vectors: z.array(z.object({ name: z.string(), vkey: z.string(), valid: z.boolean() })),
});

const noteSchema = z.object({
  vectors: z.array(
    z.object({
      name: z.string(),
      trusted_vkeys: z.array(z.string()),
      note_base64: z.string(),
      want: z.enum(['verified', 'reject']),
      verified_by: z.array(z.string()).optional(),
    }),
  ),
});
type NoteVector = z.infer<typeof noteSchema>['vectors'][number];

const cosignatureSchema = z.object({
  vectors: z.array(z.object({ name: z.string(), cosigner_vkey: z.string(), checkpoint: z.string() })),
});

/** Verifier keys of C2SP signed-note. */
export const vkeyFamily: Family = {
  claims: ({ path, json }) => listsMembers(json, 'vkey', 'valid') || /(?:^|\/)vkey\.json$/.test(path),
  cases: ({ json }) =>
    vkeySchema.parse(json).vectors.map(({ name, vkey, valid }): Case => {
      const check = async (): Promise<void> => {
        if (valid) expectEqual(encodeVkey(parseVkey(vkey, sha256)), vkey, 'the key after parsing');
        else await expectRefused(() => parseVkey(vkey, sha256), 'the key');
      };
      return { name, check };
    }),
};

/** C2SP signed notes. */
export const noteFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'note_base64', 'want') || /(?:^|\/)signed-note\.json$/.test(path),
  cases: ({ json }) =>
    noteSchema
      .parse(json)
      .vectors.map((vector): Case => ({ name: vector.name, check: () => checkNote(vector) })),
};

async function checkNote(vector: NoteVector): Promise<void> {
  for (const provider of PROVIDERS) {
    const known = vector.trusted_vkeys.map((vkey) => verifierOf(vkey, provider));
    const verify = async (): Promise<string> => {
      const { signers } = await verifyNote(parseNote(fromBase64(vector.note_base64)), known);
      return signers
        .map(({ name }) => name)
        .sort()
        .join();
    };
    if (vector.want === 'reject') await expectRefused(verify, 'the note');
    else expectEqual(await verify(), [...(vector.verified_by ?? [])].sort().join(), 'the list of signers');
  }
}

function verifierOf(text: string, provider: CryptoProvider): NoteVerifier {
  const vkey = parseVkey(text, sha256);
  return vkey.type === KEY_TYPE.cosignature
    ? cosignatureVerifier(vkey, provider)
    : ed25519Verifier(vkey, provider);
}

/** C2SP cosignatures on checkpoints whose log signature may be of a kind unknown here. */
export const cosignatureFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'cosigner_vkey', 'checkpoint') || /(?:^|\/)cosignatures\.json$/.test(path),
  cases: ({ json }) =>
    cosignatureSchema.parse(json).vectors.map(({ name, cosigner_vkey, checkpoint }): Case => ({
      name,
      check: () => checkCosignature(cosigner_vkey, checkpoint),
    })),
};

/** The witness signed this checkpoint, and would not have signed it with another first byte. */
export async function checkCosignature(cosigner: string, checkpoint: string): Promise<void> {
  const vkey = parseVkey(cosigner, sha256);
  for (const provider of PROVIDERS) {
    await verifyCosignature(parseNote(utf8(checkpoint)), vkey, provider);
    const altered = parseNote(utf8(`x${checkpoint}`));
    await expectRefused(
      () => verifyCosignature(altered, vkey, provider),
      'the cosignature of an altered checkpoint',
    );
  }
}
