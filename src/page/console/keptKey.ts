const NAME = 'vouchsafe-console-key';

/** The key of this tab, where its user wanted it kept; storage goes with the tab. */
export function keptKey(): string | undefined {
  try {
    return sessionStorage.getItem(NAME) ?? undefined;
  } catch {
    // A browser that keeps nothing has nothing.
    return undefined;
  }
}

export function keepKey(key: string | undefined): void {
  try {
    if (key === undefined) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, key);
  } catch {
    // Then it is asked for again after the page is loaded anew.
  }
}
