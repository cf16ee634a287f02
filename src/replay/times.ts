/** Members of an answer, or of a chunk, that tell when it was made; as they are written. */
const TIMES: ReadonlySet<string> = new Set(['"created"', '"created_at"', '"completed_at"']);
/** An event of `/v1/responses` has the response, with its times, as this member. */
const RESPONSE = '"response"';
const RESPONSE_TIMES: ReadonlySet<string> = new Set(['"created_at"', '"completed_at"']);
/** Seconds as the service writes them: whole, without sign, fraction or exponent. */
const SECONDS = /^(?:0|[1-9]\d{0,15})$/;

/** One member of an object: its name with quotation marks, and where its value stands. */
interface Member {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * A JSON text with 0 in place of each time at which the service made it: no run repeats the clock. Only whole seconds
 * at the places where the service writes them are times, and nothing around them is touched; members of these names
 * anywhere else stay. The text must be valid JSON; a character may stand for one byte of UTF-8.
 */
export function withoutTimes(json: string): string {
  const parts: string[] = [];
  let from = 0;
  for (const { start, end } of timesOf(json)) {
    parts.push(json.slice(from, start), '0');
    from = end;
  }
  return parts.join('') + json.slice(from);
}

function timesOf(json: string): readonly Member[] {
  const isSeconds = ({ start, end }: Member): boolean => SECONDS.test(json.slice(start, end));
  return membersOf(json, skipSpace(json, 0)).flatMap((member) => {
    if (member.name !== RESPONSE) return TIMES.has(member.name) && isSeconds(member) ? [member] : [];
    return membersOf(json, member.start).filter(
      (inner) => RESPONSE_TIMES.has(inner.name) && isSeconds(inner),
    );
  });
}

/** Members of the object that opens here; none where the value is no object. */
function membersOf(json: string, open: number): readonly Member[] {
  const members: Member[] = [];
  if (json[open] !== '{') return members;
  let at = skipSpace(json, open + 1);
  while (json[at] === '"') {
    const colon = skipSpace(json, endOfString(json, at));
    const start = skipSpace(json, colon + 1);
    const end = endOfValue(json, start);
    members.push({ name: json.slice(at, endOfString(json, at)), start, end });
    // Behind the comma, or at the closing brace, where no name begins.
    at = skipSpace(json, skipSpace(json, end) + 1);
  }
  return members;
}

function endOfValue(json: string, start: number): number {
  const first = json[start];
  if (first === '"') return endOfString(json, start);
  return first === '{' || first === '[' ? endOfContainer(json, start) : find(/[\s,}\]]/g, json, start);
}

function endOfContainer(json: string, start: number): number {
  let [at, depth] = [start, 0];
  while (at < json.length) {
    const character = json[at];
    if (character === '"') at = endOfString(json, at);
    else {
      depth += character === '{' || character === '[' ? 1 : -1;
      at++;
    }
    if (depth === 0) return at;
    at = find(/["{}[\]]/g, json, at);
  }
  return at;
}

/** Behind the quotation mark that ends the string. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const mark = json.indexOf('"', at);
    if (mark < 0) return json.length;
    let slashes = 0;
    while (json[mark - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return mark + 1;
    at = mark + 1;
  }
}

const skipSpace = (json: string, at: number): number => find(/[^ \t\n\r]/g, json, at);

/** Where the next of these characters is; the end where there is none. */
function find(characters: RegExp, json: string, from: number): number {
  characters.lastIndex = from;
  return characters.exec(json)?.index ?? json.length;
}
