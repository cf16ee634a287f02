import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { applicationRamdisk, bootRamdisk } from '../../../../enclave/deploy/nitro/ramdisks.ts';
import { Tree } from '../../../../enclave/image/tree.ts';

describe('RAM disks', () => {
  test('the first has the two files of AWS, where its init looks for them', () => {
    const tree = bootRamdisk({ init: utf8('init'), nsm: utf8('driver') });
    expect(tree.entries().map(([path]) => path)).toEqual(['dev', 'init', 'nsm.ko']);
    expect(tree.get('init')).toEqual({ kind: 'file', mode: 0o755, content: utf8('init') });
    expect(bootRamdisk({ init: utf8('init') }).get('nsm.ko')).toBeUndefined();
  });

  test('the second has the root, folders to mount on, command and variables', () => {
    const root = new Tree();
    root.add('usr/bin/node', { kind: 'file', mode: 0o755, content: utf8('node') });
    const tree = applicationRamdisk({ root, command: ['/usr/bin/node', 'a b'], environment: ['A=b'] });
    expect(tree.get('rootfs/usr/bin/node')).toEqual(root.get('usr/bin/node'));
    expect(tree.get('rootfs/proc')).toEqual({ kind: 'folder', mode: 0o755 });
    expect(tree.get('cmd')).toMatchObject({ content: utf8('/usr/bin/node\na b\n') });
    expect(tree.get('env')).toMatchObject({ content: utf8('A=b\n') });
  });

  test.each([[['a\nb']], [['']], [['a\0']]])('a command %j is refused', (command) => {
    const make = () => applicationRamdisk({ root: new Tree(), command, environment: [] });
    expect(make).toThrow(expect.objectContaining({ code: 'DEPLOY_OPTIONS_INVALID' }));
  });
});
