import * as z from 'zod';
import { orAny, references, unique } from './shapes.ts';

/** Who must answer for the service; `any` asks for nobody. */
export const operatorPolicySchema = orAny(
  z.strictObject({
    /** Names as the certificates of the organisations have them. */
    organisations: unique(z.string().min(1).max(200)).min(1),
    /** Digests of images that they may answer for. */
    images: orAny(references(32)),
  }),
);

export type OperatorPolicy = z.infer<typeof operatorPolicySchema>;
