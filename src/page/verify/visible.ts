/** Text of files without what changes how the text around it is read: controls, and marks of direction. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u00b7');
}

/** Milliseconds or seconds that a Date can hold as ISO 8601 without its zeros; others as the number. */
export function timeText(milliseconds: number): string {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? `${milliseconds} ms` : date.toISOString().replace('.000', '');
}
