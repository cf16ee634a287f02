import { expect, test } from '@jest/globals';
import { chainFindings } from '../../../src/archive/chain.ts';

type Link = Parameters<typeof chainFindings>[0][number];

function link(name: string, changes: Partial<Link> = {}): Link {
  return {
    instance: name,
    origin: `host/vouchsafe/${name}`,
    created: 1,
    live: false,
    entries: 10,
    documents: 2,
    complete: true,
    problem: undefined,
    predecessor: undefined,
    predecessorSize: undefined,
    predecessorRoot: undefined,
    checkpoint: { size: 10, root: Buffer.alloc(32, 1) },
    ...changes,
  };
}

const after = (name: string, changes: Partial<Link> = {}): Partial<Link> => ({
  predecessor: `host/vouchsafe/${name}`,
  predecessorSize: 10,
  predecessorRoot: Buffer.alloc(32, 1),
  ...changes,
});

test('a whole line has no findings, several machines have several lines', () => {
  expect(chainFindings([link('a'), link('b', after('a')), link('c', after('b')), link('x')])).toEqual([]);
});

test('an instance that is named and not there is a gap', () => {
  expect(chainFindings([link('c', after('b'))])).toMatchObject([{ code: 'GAP', instance: 'c' }]);
});

test('two successors are a fork', () => {
  const found = chainFindings([link('a'), link('b', after('a')), link('c', after('a'))]);
  expect(found).toMatchObject([{ code: 'FORK', instance: 'c' }]);
});

test('a predecessor that was found shorter than the archive has it was rolled back', () => {
  const found = chainFindings([link('a'), link('b', after('a', { predecessorSize: 9 }))]);
  expect(found).toMatchObject([{ code: 'ROLLED_BACK', instance: 'b' }]);
  const emptied = chainFindings([link('a'), link('b', after('a', { predecessorSize: undefined }))]);
  expect(emptied).toMatchObject([{ code: 'ROLLED_BACK', instance: 'b' }]);
});

test('a predecessor of the same size and another root is a fork', () => {
  const found = chainFindings([link('a'), link('b', after('a', { predecessorRoot: Buffer.alloc(32, 2) }))]);
  expect(found).toMatchObject([{ code: 'FORK', instance: 'b' }]);
});
