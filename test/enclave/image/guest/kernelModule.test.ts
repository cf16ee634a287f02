import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { dependenciesOf } from '../../../../enclave/image/guest/kernelModule.ts';
import { errorOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { kernelModule } from './kernelPackage.ts';

const codeOf = (module: Uint8Array) => errorOf(ImageError, () => dependenciesOf('test', module))?.code;

describe('a kernel module', () => {
  test('says what it depends on', () => {
    expect(dependenciesOf('test', kernelModule('depends='))).toEqual([]);
    expect(dependenciesOf('test', kernelModule('alias=x', 'depends=dm-mod,dm_bufio'))).toEqual(['dm-mod', 'dm_bufio']);
  }); // prettier-ignore

  test.each([
    ['empty', new Uint8Array()],
    ['no ELF file', new Uint8Array(200)],
    ['of 32 bits', kernelModule('depends=').with(4, 1)],
    ['silent on what it needs', kernelModule('license=GPL')],
    ['in need of a path', kernelModule('depends=../x')],
    ['cut off', kernelModule('depends=').subarray(0, 80)],
    ['with sections beyond its end', kernelModule('depends=').with(44, 0xff)],
  ])('is refused: %s', (_name, module) => {
    expect(codeOf(module)).toBe('IMAGE_INPUT_MALFORMED');
  });

  test(
    'that is damaged gives dependencies or a code, and nothing else',
    () => {
      const module = kernelModule('license=GPL', 'depends=dm-mod');
      const property = fc.property(
        fc.array(fc.tuple(fc.nat(module.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(module.length),
        (changes, length) => {
          const altered = module.slice(0, length);
          for (const [at, value] of changes) if (at < altered.length) altered[at] = value;
          expect([undefined, 'IMAGE_INPUT_MALFORMED']).toContain(codeOf(altered));
        },
      );
      fc.assert(property, propertyRuns(500));
    },
    PROPERTY_TIMEOUT,
  );
});
