/** What a person can do about each code of a room. The codes are stable. */
export type Advice<Code extends string> = Readonly<Record<Code, string>>;

/** A failure with a stable code, and what a person can do about it. Each room has a class and a table of its own. */
export abstract class CodedError<Code extends string> extends Error {
  readonly code: Code;
  /** What a person can do about it. */
  readonly advice: string;

  protected constructor(table: Advice<Code>, code: Code, message: string, options?: ErrorOptions) {
    // An absent cause is no cause: `cause` would else be a member that is undefined.
    super(message, options?.cause === undefined ? undefined : options);
    this.name = new.target.name;
    this.code = code;
    this.advice = table[code];
  }
}
