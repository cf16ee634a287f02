import type { ServerResponse } from 'node:http';

/** One text to continue, and by how many tokens at most. */
export interface GenerationRequest {
  readonly prompt: string;
  readonly maxTokens: number;
}

const OPENINGS = [
  'Call me Ishmael.',
  'The Congress of the United States has, in the past year, considered with great care the state of the public debt, and',
  'Some years ago, never mind how long precisely,',
  'It was a clear steel-blue day. The firmaments of air and sea were hardly separable in that all-pervading azure; only, the pensive air was transparently pure and soft, with a look,',
  'The whale',
  'Our relations with other nations continue to be',
  'In the first place,',
  'When the ship had sailed for three days and the wind had not changed, the captain called the men together and told them that',
] as const;
const LIMITS = [16, 64, 32, 96, 24, 48] as const;

/**
 * What generations are asked for: openings of 4 to 50 tokens and 16 to 96 tokens to make, every pairing once. They are
 * sent in this order; each of the streams takes the next as soon as its last has ended.
 */
export const GENERATIONS: readonly GenerationRequest[] = LIMITS.flatMap((_, i) =>
  OPENINGS.map((prompt, j) => ({ prompt, maxTokens: LIMITS[(i + j) % LIMITS.length] ?? 16 })),
);

const PASSAGE =
  'The harbour office keeps a register of every vessel that enters the basin, with its draught, its flag, the ' +
  'name of the master and the hour of arrival; twice a day a clerk copies the list and sends it to the customs house.';

/** What embeddings are asked for, one text in each request: from one word to a passage, queries most of all. */
export const TEXTS: readonly string[] = [
  'invoice',
  'the invoice was paid last week',
  'how long does the battery of this laptop last when I watch films',
  'opening hours of the harbour office',
  PASSAGE,
  'who signed the contract of 2019, and when does it end?',
  'a small dog ran across the wet street and barked at the postman',
  'refund',
];

/** Keeps `streams` calls under way until each item was handled once; the results in the order of the items. */
export async function inStreams<Item, Result>(
  items: readonly Item[],
  streams: number,
  handle: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  let next = 0;
  const stream = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) {
      const item = items[at];
      if (item !== undefined) results[at] = await handle(item);
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  return results;
}

/** Ends an answer of a peer's server. */
export function answerJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}
