import { builtinModules } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import ts from 'typescript';
import { nodesOf, readSources, ROOT, type ImportLine, type Source } from './support/sources.ts';

const SOURCES = readSources('attestation', 'enclave', 'src', 'scripts', 'examples', 'test');
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  exports: Record<string, unknown>;
};

/** The files of `attestation` that may name Node: its Node door. */
const NODE_DOOR = [
  'attestation/node.ts',
  'attestation/crypto/node.ts',
  'attestation/crypto/nodeHpke.ts',
  'attestation/crypto/openssl.ts',
];
/** The files of `attestation` that may name WebCrypto, which every runtime has. */
const WEBCRYPTO_DOOR = ['attestation/crypto/portable.ts'];
/** Puts formats together as a platform has them: an Azure VM is an HCL report, a CPU report and a TPM quote. */
const PLATFORMS = 'attestation/evidence/platforms';
/** Rooms of `evidence` that are no format: what SGX and TDX have in common, and logs of measured boot. */
const SHARED_BY_FORMATS = ['dcap', 'bootlog'];
const INSIDE = [
  'grpc',
  'http',
  'models',
  'engine',
  'batching',
  'receipts',
  'log',
  'archive',
  'objectStore',
  'config',
  'replay',
  'witness',
  'processes',
];
const OUTSIDE = ['client', 'cli', 'audit', 'page', 'gateway'];
/** Rooms of neither side: they use attestation alone, and both sides may use them. */
const SHARED = ['collateral', 'export'];
/** What an error of any room is: it imports nothing. */
const ERRORS = 'src/errors';
/** Commands of operators: they may use the rooms inside. Every other file of `cli` is a relying party's. */
const OPERATOR_COMMAND =
  /^src\/cli\/(?:serve|doctor|models|archive|image|config|key|replay|cuda|witness)[^/]*\.ts$/;
/** Anyone may compute what a launch measures. */
const MEASURE_COMMAND = /^src\/cli\/measure[^/]*\.ts$/;
const CLI_MAIN = 'src/cli/main.ts';
/** Starts the service; its parts stand in a folder beside it. */
const MAIN = 'src/main.ts';
const MAIN_ROOM = 'src/main';
/** Who puts a confidential VM together. */
const COLLECTOR_USERS = [
  MAIN,
  'scripts/bench/auditLog.ts',
  'scripts/bench/evidenceService.ts',
  'scripts/gpu/check/evidence.ts',
  'scripts/gpu/evidenceCommand.ts',
  'scripts/vectors/mint-simulated-roots.ts',
  'scripts/vm/attestationKey.ts',
];

/** Who may call what is not JavaScript: the one place of the C library, libraries of drivers, and what they start with. */
const NATIVE = 'enclave/native';
const NATIVE_CALLERS = [
  'enclave/collect/guestDevice/openLibrary.ts',
  'enclave/collect/nativeStack.ts',
  'enclave/collect/nvidia/native.ts',
  'enclave/collect/nvidia/nscq.ts',
  'enclave/native/cLibrary.ts',
];

type Rule = (target: string, source: Source) => boolean;

function isBelow(path: string, ...folders: readonly string[]): boolean {
  return folders.some((folder) => path.startsWith(`${folder}/`));
}

function sourcesBelow(...folders: readonly string[]): readonly Source[] {
  return SOURCES.filter(({ path }) => isBelow(path, ...folders));
}

/** The imports of our own files, among those of `sources`, that `allowed` does not hold for. */
function offences(sources: readonly Source[], allowed: Rule): readonly string[] {
  return sources.flatMap((source) =>
    source.imports
      .filter(({ target }) => target !== undefined && !allowed(target, source))
      .map(({ target }) => `${source.path} imports ${String(target)}`),
  );
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function isNode(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(specifier);
}

describe('imports', () => {
  test('relative imports name an existing file with its extension', () => {
    const isWrong = ({ specifier, target }: ImportLine): boolean =>
      target !== undefined &&
      !(/\.(?:tsx?|mjs)$/.test(specifier) && (existsSync(join(ROOT, target)) || isBelow(target, 'dist')));
    const found = SOURCES.flatMap((source) =>
      source.imports.filter(isWrong).map(({ specifier }) => `${source.path} imports ${specifier}`),
    );
    expect(found).toEqual([]);
  });

  test('packages are declared, and what ships uses no development package', () => {
    const found = SOURCES.flatMap(({ path, imports }) => {
      const ships = !isBelow(path, 'scripts', 'examples', 'test');
      const declared = { ...PACKAGE.dependencies, ...(ships ? {} : PACKAGE.devDependencies) };
      return imports
        .filter(({ specifier, target }) => target === undefined && !isNode(specifier))
        .filter(({ specifier }) => !Object.hasOwn(declared, packageOf(specifier)))
        .map(({ specifier }) => `${path} imports ${specifier}`);
    });
    expect(found).toEqual([]);
  });

  test('Node built-ins have the node: prefix', () => {
    const found = SOURCES.flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => builtinModules.includes(specifier))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    );
    expect(found).toEqual([]);
  });

  test('no file imports itself in a circle', () => {
    expect(circles(sourcesBelow('attestation', 'enclave', 'src'))).toEqual([]);
  });
});

/** One line for each circle of imports: the files that reach themselves. */
function circles(sources: readonly Source[]): readonly string[] {
  const targets = new Map(sources.map(({ path, tree }) => [path, valueImports(path, tree)]));
  const reaches = (from: string): ReadonlySet<string> => {
    const seen = new Set<string>();
    const open = [...(targets.get(from) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(targets.get(next) ?? []));
    }
    return seen;
  };
  return sources.map(({ path }) => path).filter((path) => reaches(path).has(path));
}

/** Our files that are loaded when this one is: imports of types alone vanish. */
function valueImports(path: string, tree: ts.SourceFile): readonly string[] {
  const types = new Set<string>();
  for (const statement of tree.statements) {
    if (ts.isImportDeclaration(statement) && isTypeOnly(statement)) types.add(specifierOf(statement));
    if (ts.isExportDeclaration(statement) && statement.isTypeOnly) types.add(specifierOf(statement));
  }
  const { imports } = SOURCES.find((source) => source.path === path)!;
  return imports.flatMap(({ specifier, target }) =>
    target === undefined || types.has(specifier) ? [] : [target],
  );
}

function isTypeOnly({ importClause }: ts.ImportDeclaration): boolean {
  return importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

function specifierOf({ moduleSpecifier }: ts.ImportDeclaration | ts.ExportDeclaration): string {
  return moduleSpecifier !== undefined && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : '';
}

describe('attestation', () => {
  const pure = sourcesBelow('attestation').filter(({ path }) => !NODE_DOOR.includes(path));

  test('imports nothing of ours from outside', () => {
    expect(offences(sourcesBelow('attestation'), (target) => isBelow(target, 'attestation'))).toEqual([]);
  });

  test('leaves Node to its Node door', () => {
    const nodeImports = pure.flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => isNode(specifier))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    );
    expect(nodeImports).toEqual([]);
    expect(offences(pure, (target) => !NODE_DOOR.includes(target))).toEqual([]);
  });

  test('evidence formats never import each other', () => {
    const folderOf = (path: string): string | undefined =>
      /^attestation\/evidence\/([^/]+)\//.exec(path)?.[1];
    const formats = SOURCES.filter(({ path }) => folderOf(path) !== undefined && !isBelow(path, PLATFORMS));
    const allowed: Rule = (target, { path }) =>
      [undefined, folderOf(path), ...SHARED_BY_FORMATS].includes(folderOf(target));
    expect(offences(formats, allowed)).toEqual([]);
  });

  test('is pure: no clock, no network, no chance, no globals of a runtime', () => {
    expect(pure.flatMap(impurities)).toEqual([]);
  });
});

const RUNTIME_GLOBALS = new Set([
  'process', 'Buffer', 'fetch', 'setTimeout', 'setInterval', 'setImmediate', 'globalThis', 'window', 'self', 'localStorage',
  'sessionStorage', 'indexedDB', 'XMLHttpRequest', 'WebSocket', 'performance', 'console', 'require', 'eval',
]); // prettier-ignore
const IMPURE_CALLS = new Set(['Date.now', 'Math.random', 'crypto.getRandomValues', 'crypto.randomUUID']);

function impurities({ path, tree }: Source): readonly string[] {
  return [...nodesOf(tree)]
    .filter((node) => isGlobalName(node) || isImpure(node, path))
    .map(
      (node) => `${path}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${node.getText()}`,
    );
}

/** A name of a runtime's global, unless it names a member or something declared here. */
function isGlobalName(node: ts.Node): boolean {
  if (!ts.isIdentifier(node) || !RUNTIME_GLOBALS.has(node.text)) return false;
  const { parent } = node;
  const isMember = ts.isPropertyAccessExpression(parent) && parent.name === node;
  const isName = 'name' in parent && parent.name === node && !ts.isShorthandPropertyAssignment(parent);
  return !isMember && !isName;
}

function isImpure(node: ts.Node, path: string): boolean {
  if (ts.isNewExpression(node))
    return node.expression.getText() === 'Date' && (node.arguments?.length ?? 0) === 0;
  if (!ts.isPropertyAccessExpression(node)) return false;
  const text = node.getText();
  return IMPURE_CALLS.has(text) || (text === 'crypto.subtle' && !WEBCRYPTO_DOOR.includes(path));
}

describe('enclave and service', () => {
  test('enclave imports attestation and itself', () => {
    expect(offences(sourcesBelow('enclave'), (target) => isBelow(target, 'attestation', 'enclave'))).toEqual(
      [],
    );
  });

  test('the enclave calls the C library through one room, which decides nothing', () => {
    expect(offences(sourcesBelow(NATIVE), (target) => isBelow(target, 'attestation/bytes', NATIVE))).toEqual(
      [],
    );
    const callers = sourcesBelow('enclave').filter(({ imports }) =>
      imports.some(({ specifier }) => specifier === 'koffi'),
    );
    expect(callers.map(({ path }) => path).sort()).toEqual(NATIVE_CALLERS);
  });

  test('only main names the collectors and the keys of the enclave', () => {
    const others = sourcesBelow('src', 'scripts').filter(
      ({ path }) => !COLLECTOR_USERS.includes(path) && !isBelow(path, MAIN_ROOM),
    );
    expect(offences(others, (target) => !isBelow(target, 'enclave/collect', 'enclave/keys'))).toEqual([]);
  });

  test('service and command line use no other part of the enclave than their own', () => {
    const allowed: Rule = (target, { path }) =>
      !isBelow(target, 'enclave') ||
      path === MAIN ||
      isBelow(path, MAIN_ROOM) ||
      (MEASURE_COMMAND.test(path) && isBelow(target, 'enclave/predict')) ||
      (OPERATOR_COMMAND.test(path) && isBelow(target, 'enclave/predict', 'enclave/image', 'enclave/deploy'));
    expect(offences(sourcesBelow('src'), allowed)).toEqual([]);
  });

  test('rooms inside use attestation and each other', () => {
    const rooms = INSIDE.map((room) => `src/${room}`);
    const shared = SHARED.map((room) => `src/${room}`);
    const allowed: Rule = (target) => isBelow(target, 'attestation', ERRORS, ...rooms, ...shared);
    expect(offences(sourcesBelow(...rooms), allowed)).toEqual([]);
  });

  test('main puts the rooms inside together', () => {
    const main = SOURCES.filter(({ path }) => path === MAIN || isBelow(path, MAIN_ROOM));
    const outside = OUTSIDE.map((room) => `src/${room}`);
    expect(offences(main, (target) => !isBelow(target, 'scripts', 'examples', 'test', ...outside))).toEqual(
      [],
    );
  });

  test.each(SHARED)('src/%s uses attestation alone', (room) => {
    const allowed: Rule = (target) => isBelow(target, 'attestation', ERRORS, `src/${room}`);
    expect(offences(sourcesBelow(`src/${room}`), allowed)).toEqual([]);
  });

  test('errors import nothing', () => {
    expect(offences(sourcesBelow(ERRORS), (target) => isBelow(target, ERRORS))).toEqual([]);
  });

  test('every file of src stands in a known room', () => {
    const rooms = [...INSIDE, ...OUTSIDE, ...SHARED].map((room) => `src/${room}`);
    const strays = sourcesBelow('src').filter(
      ({ path }) => path !== MAIN && !isBelow(path, ERRORS, MAIN_ROOM, ...rooms),
    );
    expect(strays.map(({ path }) => path)).toEqual([]);
  });
});

describe('relying parties', () => {
  test('the client uses attestation alone', () => {
    const allowed: Rule = (target) => isBelow(target, 'attestation', 'src/client');
    expect(offences(sourcesBelow('src/client'), allowed)).toEqual([]);
  });

  test.each(['src/page', 'src/gateway'])('%s uses the client and attestation', (room) => {
    const allowed: Rule = (target) => isBelow(target, 'attestation', 'src/client', room);
    expect(offences(sourcesBelow(room), allowed)).toEqual([]);
  });

  test('audits use attestation and what an export is', () => {
    const allowed: Rule = (target) => isBelow(target, 'attestation', ERRORS, 'src/audit', 'src/export');
    expect(offences(sourcesBelow('src/audit'), allowed)).toEqual([]);
  });

  test('commands of relying parties never use the rooms inside', () => {
    const commands = sourcesBelow('src/cli').filter(
      ({ path }) => path !== CLI_MAIN && !OPERATOR_COMMAND.test(path),
    );
    const allowed: Rule = (target, { path }) =>
      (MEASURE_COMMAND.test(path) && isBelow(target, 'enclave/predict')) ||
      (isBelow(
        target,
        'attestation',
        ERRORS,
        'src/client',
        'src/gateway',
        'src/audit',
        'src/cli',
        ...SHARED.map((room) => `src/${room}`),
      ) &&
        !OPERATOR_COMMAND.test(target) &&
        target !== CLI_MAIN);
    expect(offences(commands, allowed)).toEqual([]);
  });

  test('the program itself only puts the commands together', () => {
    const main = SOURCES.filter(({ path }) => path === CLI_MAIN);
    expect(offences(main, (target) => isBelow(target, 'src/cli', 'src/client', 'attestation'))).toEqual([]);
  });
});

describe('the house', () => {
  test('nothing that ships imports scripts, examples or test; scripts import neither examples nor test', () => {
    const ships = sourcesBelow('attestation', 'enclave', 'src');
    expect(offences(ships, (target) => !isBelow(target, 'scripts', 'examples', 'test'))).toEqual([]);
    expect(offences(sourcesBelow('scripts'), (target) => !isBelow(target, 'examples', 'test'))).toEqual([]);
  });

  test('examples use the public doors alone', () => {
    const doors = [
      'attestation/index.ts',
      'attestation/node.ts',
      'src/client/index.ts',
      'src/client/node.ts',
    ];
    const allowed: Rule = (target) => isBelow(target, 'examples') || doors.includes(target);
    expect(offences(sourcesBelow('examples'), allowed)).toEqual([]);
  });

  test('files are named for what they hold', () => {
    const vague = /(?:^|[^a-z])(?:utils?|helpers?|common|misc|managers?)(?:[^a-z]|$)/;
    const words = (path: string): string =>
      basename(path).replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    expect(SOURCES.map(({ path }) => path).filter((path) => vague.test(words(path)))).toEqual([]);
  });

  test('only public doors are called index', () => {
    const doors = ['attestation/index.ts', 'src/client/index.ts'];
    const found = SOURCES.map(({ path }) => path).filter((path) => basename(path) === 'index.ts');
    expect(found.filter((path) => !doors.includes(path))).toEqual([]);
  });

  test('the package has exactly these doors', () => {
    expect(Object.keys(PACKAGE.exports)).toEqual([
      './attestation',
      './attestation/node',
      './client',
      './client/node',
    ]);
  });

  test('the portable door bundles for a browser, without Node built-ins', async () => {
    const { errors, outputFiles } = await build({
      entryPoints: [join(ROOT, 'attestation/index.ts')],
      bundle: true,
      platform: 'browser',
      format: 'esm',
      write: false,
      logLevel: 'silent',
    });
    expect(errors).toEqual([]);
    expect(outputFiles).toHaveLength(1);
  });
});
