/** Nesting beyond which a document is refused. */
const MAX_DEPTH = 64;
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]/gs;

/** Why a text is no JSON that has one meaning. */
export class JsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JsonError';
  }
}

/**
 * Parses JSON and refuses a member given twice: `JSON.parse` silently takes the last, and the person who wrote the
 * policy may have meant the first.
 */
export function parseJsonOnce(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new JsonError(error instanceof Error ? error.message : 'not JSON');
  }
  refuseDuplicates(text);
  return value;
}

/** Walks the tokens of a text that is known to be JSON. */
function refuseDuplicates(text: string): void {
  const open: Set<string>[] = [];
  let last = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':') addName(open.at(-1), JSON.parse(last) as string);
    if (open.length > MAX_DEPTH) throw new JsonError(`nested deeper than ${MAX_DEPTH} levels`);
    last = token;
  }
}

function addName(names: Set<string> | undefined, name: string): void {
  if (names?.has(name)) throw new JsonError(`the member "${name}" is given twice in one object`);
  names?.add(name);
}
