import type { CheckId } from '../checks.ts';
import { CPU } from './cpuMethods.ts';
import { DEVICES, DOCUMENT } from './evidenceMethods.ts';
import type { Method, Methods } from './method.ts';
import { DISCLOSURE, LOG, RECEIPT, TOKENS } from './receiptMethods.ts';

/** What is said and cannot be checked. */
const NOTHING: Method = {
  reads: [],
  compares: ['nothing that was read', 'nothing that could be held against it'],
  trusts: 'nobody: this is what no check here excludes',
};

const METHODS: Methods = {
  ...DOCUMENT,
  ...CPU,
  ...DEVICES,
  ...TOKENS,
  ...RECEIPT,
  ...LOG,
  ...DISCLOSURE,
};

/** How a check is made. */
export function methodOf(id: CheckId): Method {
  return METHODS[id] ?? NOTHING;
}
