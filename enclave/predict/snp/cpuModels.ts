import { PredictError } from '../errors.ts';

/** Processor models of QEMU as family, model and stepping. */
const MODELS: Readonly<Record<string, readonly [family: number, model: number, stepping: number]>> = {
  EPYC: [23, 1, 2],
  'EPYC-v1': [23, 1, 2],
  'EPYC-v2': [23, 1, 2],
  'EPYC-IBPB': [23, 1, 2],
  'EPYC-v3': [23, 1, 2],
  'EPYC-v4': [23, 1, 2],
  'EPYC-Rome': [23, 49, 0],
  'EPYC-Rome-v1': [23, 49, 0],
  'EPYC-Rome-v2': [23, 49, 0],
  'EPYC-Rome-v3': [23, 49, 0],
  'EPYC-Milan': [25, 1, 1],
  'EPYC-Milan-v1': [25, 1, 1],
  'EPYC-Milan-v2': [25, 1, 1],
  'EPYC-Genoa': [25, 17, 0],
  'EPYC-Genoa-v1': [25, 17, 0],
  'EPYC-Turin': [26, 0, 0],
};

/** The names that are known. */
export const CPU_MODELS: readonly string[] = Object.keys(MODELS);

/** What `CPUID` 1 says in EAX (AMD64 Architecture Programmer's Manual, volume 3): in RDX at reset. */
export function cpuSignature(family: number, model: number, stepping: number): number {
  const base = Math.min(family, 15);
  const extended = Math.max(family - 15, 0);
  return (stepping | ((model & 15) << 4) | (base << 8) | ((model >> 4) << 16) | (extended << 20)) >>> 0;
}

/** Signature of a processor model by the name that QEMU has for it. */
export function signatureOfModel(name: string): number {
  const parts = MODELS[name];
  if (parts) return cpuSignature(...parts);
  throw new PredictError('PROFILE_INVALID', `${name} is none of ${CPU_MODELS.join(', ')}`);
}
