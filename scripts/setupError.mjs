/** A failure that a sentence explains; no stack is shown for it. */
export class SetupError extends Error {}
