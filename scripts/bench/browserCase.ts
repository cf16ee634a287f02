import { fromBase64, toBase64 } from '../../attestation/bytes/bytes.ts';
import type { GpuCase } from '../corpus/gpu/case.ts';

/** A case as text, for where there are no files. */
export function travellingCase(gpuCase: GpuCase): string {
  const files = gpuCase.files.map((file) => ({ ...file, bytes: toBase64(file.bytes) }));
  return JSON.stringify({ ...gpuCase, files });
}

type Travelling = Omit<GpuCase, 'files'> & {
  readonly files: readonly { readonly path: string; readonly role: string; readonly bytes: string }[];
};

export function readTravellingCase(text: string): GpuCase {
  const gpuCase = JSON.parse(text) as Travelling;
  const files = gpuCase.files.map((file) => ({ ...file, bytes: fromBase64(file.bytes) }));
  return { ...gpuCase, files };
}
