/** Types of `pages.mjs`: tests build pages, too. */
export function listPages(root: string): string[];
export function pageFile(name: string): string;
export function buildPages(root: string, out?: string, names?: readonly string[]): Promise<string[]>;
