import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeSocketName } from '../../../enclave/native/sockets.ts';

describe('the name of a socket', () => {
  test('of vsock is a struct sockaddr_vm', () => {
    const { family, name } = encodeSocketName({ cid: 0xffff_ffff, port: 0x1f90 });
    expect(family).toBe(40);
    expect(toHex(name)).toBe(['2800', '0000', '901f0000', 'ffffffff', '00000000'].join(''));
  });

  test('in the file system is a struct sockaddr_un with its NUL', () => {
    const { family, name } = encodeSocketName({ path: '/run/é' });
    expect(family).toBe(1);
    expect(toHex(name)).toBe(`0100${toHex(utf8('/run/é'))}00`);
  });

  test('has room for 107 bytes of a path', () => {
    expect(encodeSocketName({ path: 'a'.repeat(107) }).name).toHaveLength(110);
    expect(() => encodeSocketName({ path: 'a'.repeat(108) })).toThrow(RangeError);
    expect(() => encodeSocketName({ path: 'é'.repeat(54) })).toThrow(RangeError);
  });
});
