import { z } from 'zod';
import { casePath } from '../case.ts';
import {
  editBytes,
  editDevices,
  editOverallToken,
  keepCertificates,
  removeDevice,
  type ListEdit,
} from './edits.ts';
import type { Material } from './material.ts';
import { ROLES, rolesOfChange, type Role } from './roles.ts';

const position = z.int().min(0);
const members = z.record(z.string(), z.unknown());

const listEdit = z.strictObject({
  drop: z.array(position).optional(),
  replace: z.record(z.string().regex(/^\d+$/), position).optional(),
  swapCertificate: z.tuple([position, position]).optional(),
});

/** The operations that the README of the corpus lists. */
const changeSchema = z.strictObject({
  file: casePath.optional(),
  xor: z.strictObject({ offset: position, mask: z.int().min(1).max(255) }).optional(),
  truncate: z.int().min(1).optional(),
  append: z
    .string()
    .regex(/^(?:[0-9a-f]{2})+$/, 'expected hex')
    .optional(),
  keep: z.array(position).optional(),
  jwt: z.literal('overall').optional(),
  set: members.optional(),
  header: members.optional(),
  signature: z.string().optional(),
  removeDevice: z.string().optional(),
  verifyAt: z.string().optional(),
  deviceOcspVerifyAt: z.string().optional(),
  expectedNonceHex: z.string().optional(),
  drop: z.array(casePath).min(1).optional(),
  /** For people. */
  meaning: z.string().optional(),
});
/** Any other key names a role, which another file gets, or a list of devices. */
const namedSchema = z.union([casePath, listEdit]);

type Change = z.infer<typeof changeSchema>;
const KNOWN = Object.keys(changeSchema.shape);

/** The material with the change that a variant describes. Throws for one that is not understood or changes nothing. */
export function applyChange(material: Material, change: Readonly<Record<string, unknown>>): Material {
  const entries = Object.entries(change);
  const operations = entries.filter(([key]) => KNOWN.includes(key));
  const data = understood(changeSchema, Object.fromEntries(operations), '');
  const named = entries
    .filter(([key]) => !KNOWN.includes(key))
    .map(([key, value]) => [key, understood(namedSchema, value, key)] as const);
  const inputs = withInputs(withFileEdit(material, data), data);
  const changed = named.reduce((before, [key, value]) => withNamed(before, key, value), inputs);
  const result = withDropped(changed, data.drop ?? []);
  if (result === material) throw new Error('the change changes nothing');
  return result;
}

function understood<T extends z.ZodType>(shape: T, value: unknown, key: string): z.infer<T> {
  const { data, error } = shape.safeParse(value);
  if (!error) return data;
  const [issue] = error.issues;
  const where = [key, ...(issue?.path.map(String) ?? [])].filter(Boolean).join('.');
  throw new Error(`the change «${where}» is not understood: ${issue?.message ?? 'wrong'}`);
}

function withInputs(material: Material, change: Change): Material {
  const { verifyAt, deviceOcspVerifyAt, expectedNonceHex } = change;
  if (verifyAt === undefined && deviceOcspVerifyAt === undefined && expectedNonceHex === undefined) {
    return material;
  }
  const { times, nonceHex } = material;
  return {
    ...material,
    times: {
      verifyAt: verifyAt ?? times.verifyAt,
      deviceOcspVerifyAt: deviceOcspVerifyAt ?? times.deviceOcspVerifyAt,
    },
    nonceHex: expectedNonceHex ?? nonceHex,
  };
}

function withFileEdit(material: Material, change: Change): Material {
  const {
    file: path,
    xor,
    truncate,
    append,
    keep,
    jwt,
    set,
    header,
    signature,
    removeDevice: label,
  } = change;
  const bytesEdited = xor ?? truncate ?? append;
  const edits = [bytesEdited, keep, jwt, label].filter((edit) => edit !== undefined);
  const tokenParts = [set, header, signature].filter((part) => part !== undefined);
  if (path === undefined && edits.length === 0 && tokenParts.length === 0) return material;
  if (path === undefined) throw new Error('the change names no file');
  if (edits.length !== 1) throw new Error(`the change of ${path} is not one operation`);
  if ((jwt === undefined) !== (tokenParts.length === 0))
    throw new Error(`the change of ${path} is incomplete`);
  const file = needFile(material, path);
  if (keep) return withFile(material, path, keepCertificates(file, keep));
  if (jwt) return withFile(material, path, editOverallToken(file, { set, header, signature }));
  if (label !== undefined) return withFile(material, path, removeDevice(file, label));
  const isReport = material.uses.some(
    (use) => use.path === path && (ROLES.REPORTS as readonly Role[]).includes(use.role),
  );
  return withFile(material, path, editBytes(file, { xor, truncate, append }, isReport));
}

/** A file in another role, or a list of devices that is changed. */
function withNamed(material: Material, key: string, value: string | ListEdit): Material {
  if (typeof value !== 'string') {
    if (!material.files.has(key) || Object.keys(value).length === 0) {
      throw new Error(`the change «${key}» is not understood`);
    }
    return withFile(material, key, editDevices(needFile(material, key), value));
  }
  const roles = rolesOfChange(key);
  const present = roles.filter((role) => material.uses.some((use) => use.role === role));
  const [role, second] = present.length > 0 ? present : roles;
  if (role === undefined || (second !== undefined && key === 'certificate-chain')) {
    throw new Error(`the change «${key}» is not understood`);
  }
  needFile(material, value);
  const others = material.uses.filter((use) => use.role !== role);
  return { ...material, uses: [...others, { role, path: value }] };
}

function withDropped(material: Material, paths: readonly string[]): Material {
  if (paths.length === 0) return material;
  for (const path of paths) needFile(material, path);
  return {
    ...material,
    files: new Map([...material.files].filter(([path]) => !paths.includes(path))),
    uses: material.uses.filter(({ path }) => !paths.includes(path)),
  };
}

function withFile(material: Material, path: string, bytes: Uint8Array): Material {
  return { ...material, files: new Map([...material.files, [path, bytes]]) };
}

function needFile({ files }: Material, path: string): Uint8Array {
  const file = files.get(path);
  if (!file) throw new Error(`the case has no file ${path}`);
  return file;
}
