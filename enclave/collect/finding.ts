/** What was found of one way to evidence. Operators read it; nothing is decided by its words. */
export interface Finding {
  /** The way, such as `configfs-tsm` or `nvml`. */
  readonly way: string;
  /** `absent`: nothing of it is here. `unusable`: it is here, and something is in its way. */
  readonly state: 'usable' | 'absent' | 'unusable';
  /** What was looked at and what came of it: paths, versions, error codes. */
  readonly detail: string;
  /** What an operator can do, where it is not usable. */
  readonly fix?: string;
}
