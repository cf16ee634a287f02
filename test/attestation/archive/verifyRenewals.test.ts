import { beforeEach, describe, expect, test } from '@jest/globals';
import { encodeRenewal, parseRenewal } from '../../../attestation/archive/renewal.ts';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { FIRST, problemsOf, RenewedArchive, sinceOf, YEAR } from '../../support/renewedArchive.ts';
import { mintTimestampAuthority, timestampAuthority } from '../../support/timestampAuthority.ts';

let archive: RenewedArchive;

beforeEach(() => {
  archive = new RenewedArchive();
});

/** With the accuracy that is assumed of an authority that states none. */
function timeOf(milliseconds: number): string {
  return new Date(milliseconds + 1000).toISOString();
}

/** Three years: the data, the timestamps alone, the data again under a stronger hash. */
async function threeYears(): Promise<void> {
  await archive.renew(FIRST, { hash: 'sha384' });
  await archive.renew(FIRST + YEAR, { hash: 'sha384', timestampsOnly: true });
  await archive.renew(FIRST + 2 * YEAR);
}

describe('a chain of renewals', () => {
  test('shows that the data existed at the first timestamp', async () => {
    await threeYears();
    const audit = await archive.verify(FIRST + 3 * YEAR);
    expect(audit.problems).toEqual([]);
    expect(audit.renewals.map(({ kind, standing }) => [kind, standing])).toEqual([
      ['hash-tree', true],
      ['timestamp', true],
      ['hash-tree', true],
    ]);
    expect(sinceOf(audit)).toEqual([timeOf(FIRST), timeOf(FIRST + 2 * YEAR)]);
  });

  test('shows it where the keys of the first authority ended since', async () => {
    const authority = mintTimestampAuthority({ notAfter: new Date(FIRST + 1.5 * YEAR) });
    await archive.renew(FIRST, { authority });
    await archive.renew(FIRST + YEAR);
    const audit = await archive.verify(FIRST + 5 * YEAR, {
      anchors: [authority.anchor, timestampAuthority().anchor],
    });
    expect(audit.problems).toEqual([]);
    expect(sinceOf(audit)[0]).toBe(timeOf(FIRST));
  });

  test('names a renewal that came after the certificate had ended, and relies on the later one alone', async () => {
    const authority = mintTimestampAuthority({ notAfter: new Date(FIRST + 0.5 * YEAR) });
    await archive.renew(FIRST, { authority });
    await archive.renew(FIRST + YEAR);
    const audit = await archive.verify(FIRST + 2 * YEAR, {
      anchors: [authority.anchor, timestampAuthority().anchor],
    });
    expect(problemsOf(audit)).toEqual(['RENEWAL_LATE 0']);
    expect(sinceOf(audit)).toEqual([undefined, timeOf(FIRST + YEAR)]);
  });

  test('that was not renewed in time shows nothing', async () => {
    await threeYears();
    const audit = await archive.verify(Date.parse('2035-01-02T00:00:00Z'));
    expect(problemsOf(audit)).toEqual(['RENEWAL_LATE 2']);
    expect(sinceOf(audit)).toEqual([undefined, undefined]);
  });

  test('holds where a hash was broken after the data had been hashed by another', async () => {
    await threeYears();
    const audit = await archive.verify(FIRST + 3 * YEAR, {
      ends: { sha384: FIRST + 2.5 * YEAR, sha256: FIRST + 4 * YEAR },
    });
    expect(audit.problems).toEqual([]);
    expect(sinceOf(audit)[0]).toBe(timeOf(FIRST));
  });

  test.each([
    ['the hash of the tree', { sha384: FIRST + 0.5 * YEAR }],
    ['the hash that the token signs', { sha256: FIRST + 0.5 * YEAR }],
    ['the kind of key', { ec: FIRST + 0.5 * YEAR }],
  ])('breaks where %s was broken before the next', async (_what, ends) => {
    await threeYears();
    const audit = await archive.verify(FIRST + 3 * YEAR, { ends });
    expect(problemsOf(audit)).toContain('RENEWAL_LATE 0');
    expect(sinceOf(audit)[0]).toBeUndefined();
  });

  test('by timestamps alone does not renew the hash of the data', async () => {
    await archive.renew(FIRST, { hash: 'sha384' });
    await archive.renew(FIRST + YEAR, { timestampsOnly: true });
    const audit = await archive.verify(FIRST + 3 * YEAR, { ends: { sha384: FIRST + 2 * YEAR } });
    expect(sinceOf(audit)).toEqual([undefined]);
  });

  test('of nothing shows nothing', async () => {
    expect(await archive.verify(FIRST)).toEqual({ renewals: [], segments: [], problems: [] });
  });
});

describe('renewals are not believed', () => {
  beforeEach(threeYears);
  const NOW = FIRST + 3 * YEAR;

  test('by an authority that is not trusted', async () => {
    const audit = await archive.verify(NOW, { anchors: [mintTimestampAuthority().anchor] });
    expect(problemsOf(audit)).toEqual(['RENEWAL_UNSTAMPED 2', 'RENEWAL_UNSTAMPED 1', 'RENEWAL_UNSTAMPED 0']);
    expect(sinceOf(audit)).toEqual([undefined, undefined]);
  });

  test('with an altered file', async () => {
    archive.files.set('evidence/0.cbor', utf8('doCument'));
    const audit = await archive.verify(NOW);
    expect(problemsOf(audit)).toEqual(['FILES_CHANGED 0', 'FILES_CHANGED 2']);
    expect(sinceOf(audit)).toEqual([undefined, undefined]);
    expect(audit.segments[0]?.changed).toEqual(['evidence/0.cbor']);
  });

  test('a file that is not there is named, and the others are shown', async () => {
    archive.files.delete('evidence/0.cbor');
    const audit = await archive.verify(NOW);
    expect(problemsOf(audit)).toEqual(['FILES_MISSING 0', 'FILES_MISSING 2']);
    expect(audit.segments[0]?.missing).toEqual(['evidence/0.cbor']);
    expect(sinceOf(audit)[0]).toBe(timeOf(FIRST));
  });

  test('an added file is counted as covered by none', async () => {
    archive.files.set('tile/0/001', utf8('more'));
    const audit = await archive.verify(NOW);
    expect(audit.problems).toEqual([]);
    expect(audit.segments[0]?.uncovered).toBe(1);
  });

  test('with a list that was altered with its file', async () => {
    archive.files.set('origin', utf8('evil'));
    const other = new RenewedArchive();
    other.files.set('origin', utf8('evil'));
    await other.renew(FIRST, { hash: 'sha384' });
    const [name, list] = [...other.renewals].find(([key]) => key.endsWith('.list'))!;
    archive.renewals.set(name, list);
    const audit = await archive.verify(NOW);
    expect(problemsOf(audit)).toEqual(
      expect.arrayContaining(['RENEWAL_ALTERED 0', 'FILES_CHANGED 1', 'FILES_CHANGED 2']),
    );
    expect(sinceOf(audit)).toEqual([undefined]);
  });

  test('with a record that was made anew under the same number', async () => {
    const record = parseRenewal(archive.renewals.get('0.cbor')!);
    archive.renewals.set('0.cbor', encodeRenewal({ ...record, madeAt: 1 }));
    archive.stamp(0, FIRST - YEAR, { hash: 'sha384' });
    const audit = await archive.verify(NOW);
    expect(problemsOf(audit)).toEqual(expect.arrayContaining(['RENEWAL_ALTERED 0', 'RENEWAL_ALTERED 1']));
    expect(sinceOf(audit)[0]).toBeUndefined();
  });

  test('with a timestamp that nobody had at the next renewal', async () => {
    archive.stamp(0, FIRST - 0.5 * YEAR, { hash: 'sha384' });
    const audit = await archive.verify(NOW);
    expect(audit.problems).toEqual([]);
    expect(audit.renewals[0]?.refused.map(({ name, code }) => [name, code])).toEqual([
      ['0.1.tsr', 'TIMESTAMP_MISMATCH'],
    ]);
    expect(sinceOf(audit)[0]).toBe(timeOf(FIRST));
  });

  test('where one is missing', async () => {
    archive.renewals.delete('1.cbor');
    expect(problemsOf(await archive.verify(NOW))).toContain('RENEWAL_MISSING 1');
  });

  test('where a list is missing that a later renewal needs', async () => {
    archive.renewals.delete('2.renewals.list');
    const audit = await archive.verify(NOW);
    expect(problemsOf(audit)).toContain('RENEWAL_MISSING 2');
    expect(sinceOf(audit)[0]).toBeUndefined();
  });

  test('where the file is no record', async () => {
    archive.renewals.set('1.cbor', utf8('x'));
    expect(problemsOf(await archive.verify(NOW))).toContain('RENEWAL_MALFORMED 1');
  });

  test('with a huge number, in bounded work', async () => {
    archive.renewals.set('99999999.cbor', utf8('x'));
    expect(problemsOf(await archive.verify(NOW))).toEqual(
      expect.arrayContaining(['RENEWAL_MISSING 3', 'RENEWAL_MALFORMED 99999999']),
    );
  });
});

test('an imprint by a weaker hash than the renewal is refused', async () => {
  await archive.renew(FIRST, { imprint: 'sha256' });
  const audit = await archive.verify(FIRST + 1);
  expect(audit.renewals[0]?.refused.map(({ code }) => code)).toEqual(['TIMESTAMP_MISMATCH']);
  expect(problemsOf(audit)).toEqual(['RENEWAL_UNSTAMPED 0']);
});

test('timestamps that contradict their order are named', async () => {
  await archive.renew(FIRST + YEAR);
  await archive.renew(FIRST);
  const audit = await archive.verify(FIRST + 2 * YEAR);
  expect(problemsOf(audit)).toEqual(['TIMES_CONTRADICT 0']);
  expect(sinceOf(audit)).toEqual([undefined, timeOf(FIRST)]);
});

test('a renewal without a timestamp is bridged by the next', async () => {
  await archive.renew(FIRST);
  await archive.renew(FIRST + YEAR, { authority: undefined });
  await archive.renew(FIRST + 2 * YEAR);
  const audit = await archive.verify(FIRST + 3 * YEAR);
  expect(problemsOf(audit)).toEqual(['RENEWAL_UNSTAMPED 1']);
  expect(sinceOf(audit)).toEqual([timeOf(FIRST), undefined, timeOf(FIRST + 2 * YEAR)]);
});

test('the earliest of two trusted authorities counts', async () => {
  const other = mintTimestampAuthority();
  await archive.renew(FIRST);
  archive.stamp(0, FIRST - 60_000, { authority: other });
  const audit = await archive.verify(FIRST + YEAR, { anchors: [timestampAuthority().anchor, other.anchor] });
  expect(sinceOf(audit)).toEqual([timeOf(FIRST - 60_000)]);
});

test('a timestamp whose certificate ended before the next renewal does not lend its time to another', async () => {
  const other = mintTimestampAuthority({ notAfter: new Date(FIRST + 0.5 * YEAR) });
  await archive.renew(FIRST);
  archive.stamp(0, FIRST - 60_000, { authority: other });
  await archive.renew(FIRST + YEAR);
  const anchors = [timestampAuthority().anchor, other.anchor];
  const audit = await archive.verify(FIRST + 2 * YEAR, { anchors });
  expect(audit.problems).toEqual([]);
  expect(sinceOf(audit)[0]).toBe(timeOf(FIRST));
});
