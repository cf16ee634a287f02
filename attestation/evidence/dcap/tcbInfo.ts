import * as z from 'zod';
import { fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import {
  HEAD_MEMBERS,
  hexBytes,
  levelSchema,
  levelsOf,
  readStatement,
  uintUpTo,
  verdictOf,
  type LevelVerdict,
  type StatementHead,
} from './statement.ts';
import { MODULE_STATUSES, PLATFORM_STATUSES, type ModuleStatus, type PlatformStatus } from './tcbStatus.ts';

const COMPONENTS = 16;
const MAX_MODULES = 64;
const WHAT = 'TCB info';

export type Tee = 'sgx' | 'tdx';

/** What TCB info is for, before anything in it is trusted. */
export interface TcbInfoHead extends StatementHead {
  readonly version: 2 | 3;
  readonly tee: Tee;
  /** 6 bytes, lower-case hex. */
  readonly fmspc: string;
  /** 2 bytes, lower-case hex. */
  readonly pceId: string;
}

export interface TcbLevel extends LevelVerdict<PlatformStatus> {
  /** Least security versions of the 16 SGX components. */
  readonly sgxComponents: readonly number[];
  readonly pceSvn: number;
  /** Least security versions of the 16 TDX components; TDX only. */
  readonly tdxComponents?: readonly number[];
}

/** Who must have signed a TDX module, with which SEAM attributes. */
export interface TdxModule {
  /** 48 bytes. */
  readonly mrSigner: Uint8Array;
  /** 8 bytes each. */
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
}

export interface TdxModuleLevel extends LevelVerdict<ModuleStatus> {
  readonly isvSvn: number;
}

export interface TdxModuleIdentity extends TdxModule {
  /** `TDX_` and the major version in two upper-case hex digits. */
  readonly id: string;
  /** Highest security version first. */
  readonly tcbLevels: readonly TdxModuleLevel[];
}

/** TCB info of one FMSPC. Levels are in the order in which Intel's library compares them: highest first. */
export interface TcbInfo extends TcbInfoHead {
  readonly tcbLevels: readonly TcbLevel[];
  /** The module of major version 0; TDX only. */
  readonly tdxModule?: TdxModule;
  /** Modules of higher major versions. */
  readonly tdxModuleIdentities: readonly TdxModuleIdentity[];
}

const svn = uintUpTo(0xff);
const pcesvn = uintUpTo(0xffff);
const isvsvn = uintUpTo(0xffff);

const components = z
  .array(
    z.strictObject({ svn, category: z.string().max(200).optional(), type: z.string().max(200).optional() }),
  )
  .length(COMPONENTS)
  .transform((items) => items.map((component) => component.svn));

/** Members by which TCB info is chosen. */
const target = { ...HEAD_MEMBERS, fmspc: hexBytes(6), pceId: hexBytes(2) };
const headSchema = z.discriminatedUnion('version', [
  z.looseObject({ ...target, version: z.literal(2), id: z.undefined().optional() }),
  z.looseObject({ ...target, version: z.literal(3), id: z.enum(['SGX', 'TDX']) }),
]);

/** Type 0: each component is compared by its own. No other type is defined. */
const common = { ...target, tcbType: z.literal(0) };

/** `sgxtcbcomp01svn` to `sgxtcbcomp16svn`. */
const COMPONENT_NAMES = Array.from(
  { length: COMPONENTS },
  (_, i) => `sgxtcbcomp${String(i + 1).padStart(2, '0')}svn`,
);
const tcbV2 = z
  .strictObject({ ...Object.fromEntries(COMPONENT_NAMES.map((name) => [name, svn])), pcesvn })
  .transform((tcb) => {
    const values: Readonly<Record<string, number>> = tcb;
    return {
      sgxtcbcomponents: COMPONENT_NAMES.map((name) => values[name] ?? 0),
      pcesvn: tcb.pcesvn,
    };
  });
const tcbSgx = z.strictObject({ sgxtcbcomponents: components, pcesvn });
const tcbTdx = z.strictObject({ sgxtcbcomponents: components, pcesvn, tdxtcbcomponents: components });

const moduleMembers = { mrsigner: hexBytes(48), attributes: hexBytes(8), attributesMask: hexBytes(8) };
const moduleIdentity = z.strictObject({
  id: z.string().regex(/^TDX_[0-9a-fA-F]{2}$/),
  ...moduleMembers,
  tcbLevels: levelsOf(levelSchema(z.strictObject({ isvsvn }), MODULE_STATUSES)),
});

const schemas = {
  v2: z.strictObject({
    ...common,
    version: z.literal(2),
    tcbLevels: levelsOf(levelSchema(tcbV2, PLATFORM_STATUSES)),
  }),
  sgx: z.strictObject({
    ...common,
    version: z.literal(3),
    id: z.literal('SGX'),
    tcbLevels: levelsOf(levelSchema(tcbSgx, PLATFORM_STATUSES)),
  }),
  tdx: z.strictObject({
    ...common,
    version: z.literal(3),
    id: z.literal('TDX'),
    tcbLevels: levelsOf(levelSchema(tcbTdx, PLATFORM_STATUSES)),
    tdxModule: z.strictObject(moduleMembers),
    // Absent before there were modules of version 1.5.
    tdxModuleIdentities: z.array(moduleIdentity).min(1).max(MAX_MODULES).optional(),
  }),
};

/** Reads for which TEE, platform and time TCB info is; the rest is not looked at. */
export function parseTcbInfoHead(value: unknown): TcbInfoHead {
  return headOf(readStatement(headSchema, value, WHAT));
}

/** Reads TCB info of version 2 (SGX) or 3 (SGX or TDX). */
export function parseTcbInfo(value: unknown): TcbInfo {
  const head = parseTcbInfoHead(value);
  if (head.version === 2) return parseSgx(head, readStatement(schemas.v2, value, WHAT).tcbLevels);
  if (head.tee === 'sgx') return parseSgx(head, readStatement(schemas.sgx, value, WHAT).tcbLevels);
  return parseTdx(head, value);
}

function headOf(head: z.output<typeof headSchema>): TcbInfoHead {
  const { version, issueDate, nextUpdate, tcbEvaluationDataNumber, fmspc, pceId } = head;
  const tee = head.id === 'TDX' ? 'tdx' : 'sgx';
  return { version, tee, fmspc, pceId, issueDate, nextUpdate, tcbEvaluationDataNumber };
}

interface SgxLevel {
  readonly tcb: { readonly sgxtcbcomponents: readonly number[]; readonly pcesvn: number };
  readonly tcbDate: number;
  readonly tcbStatus: PlatformStatus;
  readonly advisoryIDs?: readonly string[] | undefined;
}

function parseSgx(head: TcbInfoHead, levels: readonly SgxLevel[]): TcbInfo {
  return { ...head, tcbLevels: inOrder(levels.map(readLevel), compareLevels), tdxModuleIdentities: [] };
}

function parseTdx(head: TcbInfoHead, value: unknown): TcbInfo {
  const info = readStatement(schemas.tdx, value, WHAT);
  const levels = info.tcbLevels.map((level) => ({
    ...readLevel(level),
    tdxComponents: level.tcb.tdxtcbcomponents,
  }));
  const modules = (info.tdxModuleIdentities ?? []).map(readModuleIdentity);
  if (new Set(modules.map(({ id }) => id)).size !== modules.length) {
    throw new Refusal('MALFORMED', `${WHAT} names a TDX module twice`);
  }
  return {
    ...head,
    tcbLevels: inOrder(levels, compareLevels),
    tdxModule: readModule(info.tdxModule),
    tdxModuleIdentities: modules,
  };
}

function readLevel(level: SgxLevel): TcbLevel {
  return { sgxComponents: level.tcb.sgxtcbcomponents, pceSvn: level.tcb.pcesvn, ...verdictOf(level) };
}

function readModule(module: Record<keyof typeof moduleMembers, string>): TdxModule {
  return {
    mrSigner: fromHex(module.mrsigner),
    attributes: fromHex(module.attributes),
    attributesMask: fromHex(module.attributesMask),
  };
}

function readModuleIdentity(identity: z.output<typeof moduleIdentity>): TdxModuleIdentity {
  const levels = identity.tcbLevels.map((level) => ({ isvSvn: level.tcb.isvsvn, ...verdictOf(level) }));
  return {
    ...readModule(identity),
    id: `TDX_${identity.id.slice(4).toUpperCase()}`,
    tcbLevels: inOrder(levels, (a, b) => b.isvSvn - a.isvSvn),
  };
}

/** Highest first, none twice: of two equal levels the first would win by its place in the list alone. */
function inOrder<Level>(levels: readonly Level[], compare: (a: Level, b: Level) => number): readonly Level[] {
  const sorted = levels.toSorted(compare);
  const twice = sorted.some((level, i) => {
    const next = sorted[i + 1];
    return next !== undefined && compare(level, next) === 0;
  });
  if (twice) throw new Refusal('MALFORMED', `${WHAT} has a TCB level twice`);
  return sorted;
}

/** SGX components, then the PCE's version, then TDX components: the first that differs decides. */
function compareLevels(a: TcbLevel, b: TcbLevel): number {
  const left = [...a.sgxComponents, a.pceSvn, ...(a.tdxComponents ?? [])];
  const right = [...b.sgxComponents, b.pceSvn, ...(b.tdxComponents ?? [])];
  const differing = left.findIndex((version, i) => version !== right[i]);
  return differing === -1 ? 0 : (right[differing] ?? 0) - (left[differing] ?? 0);
}
