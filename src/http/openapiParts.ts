export const JSON_TYPE = 'application/json';
export const content = (type: string): object => ({ [type]: {} });
export const answer = (description: string, type = JSON_TYPE): object => ({
  description,
  content: content(type),
});
export const failure = (description: string): object => ({ description, content: content(JSON_TYPE) });

export const KEYED = [{ apiKey: [] }];

export function path(name: string, schema: object): object {
  return { name, in: 'path', required: true, schema };
}

/** A route that needs an API key where keys are required. */
export function keyed(summary: string, parameters: readonly object[], ok: object): object {
  const responses = { 200: ok, 401: failure('No or unknown API key'), 404: failure('Not found') };
  return { summary, security: KEYED, parameters, responses };
}

export function open(summary: string, ok: object, more: object = {}): object {
  return { summary, security: [], responses: { 200: ok, ...more } };
}
