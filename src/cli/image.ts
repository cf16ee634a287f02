import type { Command } from 'commander';
import { newCommand } from './command.ts';
import { archiveImageCommand } from './imageArchive.ts';
import { buildImageCommand } from './imageBuild.ts';
import { containerImageCommand } from './imageContainer.ts';
import { diffImageCommand } from './imageDiff.ts';
import { enclaveImageCommand } from './imageEnclave.ts';
import { policyImageCommand } from './imagePolicy.ts';
import { releaseImageCommand } from './imageRelease.ts';
import { verifyImageCommand } from './imageVerify.ts';

const EXAMPLES = [
  [
    'make an image with the models of a folder',
    'vouchsafe image build --out image --config production.json --models models',
  ],
  ['compute again what its manifest says', 'vouchsafe image verify image --key publisher.pem'],
  ['what a release changed, and which measurements', 'vouchsafe image diff image-1.0 image-1.1'],
  ['all that a client needs', 'vouchsafe image policy image --platform tpm --no-devices > policy.json'],
] as const;

export function imageCommand(): Command {
  return newCommand('image', 'Make, verify, compare and accept measured VM images', EXAMPLES)
    .addCommand(buildImageCommand())
    .addCommand(verifyImageCommand())
    .addCommand(diffImageCommand())
    .addCommand(policyImageCommand())
    .addCommand(releaseImageCommand())
    .addCommand(containerImageCommand())
    .addCommand(enclaveImageCommand())
    .addCommand(archiveImageCommand());
}
