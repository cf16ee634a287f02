/** `npm run image -- pins [--mirror URL]`: pins the newest inputs of images. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { updatePins } from './pins.ts';

const FILE = fileURLToPath(new URL('../../enclave/image/inputs/pins.json', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mirror: { type: 'string', default: 'https://deb.debian.org' },
    out: { type: 'string', default: FILE },
  },
});
if (positionals.length !== 1 || positionals[0] !== 'pins') {
  process.stderr.write('Usage: npm run image -- pins [--mirror URL] [--out FILE]\n');
  process.exitCode = 64;
} else {
  await updatePins({
    file: values.out,
    mirror: values.mirror,
    notice: (line) => process.stdout.write(`${line}\n`),
  });
}
