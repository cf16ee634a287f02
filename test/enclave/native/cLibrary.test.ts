import { describe, expect, test } from '@jest/globals';
import { CLibrary } from '../../../enclave/native/cLibrary.ts';
import { nativeMemory } from '../../../enclave/native/memory.ts';
import { SystemCallError } from '../../../enclave/native/systemCallError.ts';

describe('the C library of this process', () => {
  const library = new CLibrary();
  const badDescriptor = expect.objectContaining({ code: 'EBADF', message: 'close failed with EBADF' });

  test('names what failed, at once and on a thread', async () => {
    expect(() => library.callNow('close', [-1])).toThrow(SystemCallError);
    expect(() => library.callNow('close', [-1])).toThrow(badDescriptor);
    await expect(library.call('close', [-1])).rejects.toEqual(badDescriptor);
  });

  test('gives the error of its own call where several are out', async () => {
    const calls = Array.from({ length: 64 }, (_, index) =>
      index % 2 === 0 ? library.call('close', [-1]) : library.call('socket', [-1, 1, 0]),
    );
    const codes = (await Promise.allSettled(calls)).map((call) =>
      call.status === 'rejected' ? (call.reason as SystemCallError).code : 'none',
    );
    expect(codes).toEqual(calls.map((_, index) => (index % 2 === 0 ? 'EBADF' : 'EAFNOSUPPORT')));
  });

  test('says where memory lies', () => {
    const memory = nativeMemory(64);
    expect(library.address(memory.subarray(8))).toBe(library.address(memory) + 8n);
  });

  test('is not one that is not there', () => {
    expect(() => new CLibrary('/nowhere/libc.so')).toThrow();
  });
});
