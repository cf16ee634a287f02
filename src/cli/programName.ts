/**
 * How whoever runs this can run it again: in a clone the program is on no path, and both `npx vouchsafe` and
 * `npm start` tell a process of theirs so.
 */
export function programName({ npm_lifecycle_event: event }: NodeJS.ProcessEnv = process.env): string {
  return event === undefined ? 'vouchsafe' : 'npx vouchsafe';
}
