/** Members of a chat that ask for the form of its answer, and calls, as `openapi.ts` describes them. */
const FUNCTION_NAME = { type: 'string', pattern: '^[a-zA-Z0-9_-]{1,64}$' };
const JSON_SCHEMA = { type: 'object', description: 'JSON Schema, of which all is enforced or refused.' };

export const RESPONSE_FORMAT = {
  type: 'object',
  required: ['type'],
  description: 'Of another type than text: not where tools may be called.',
  properties: {
    type: { type: 'string', enum: ['text', 'json_object', 'json_schema'] },
    json_schema: {
      type: 'object',
      required: ['name', 'schema'],
      properties: {
        name: FUNCTION_NAME,
        description: { type: 'string' },
        schema: JSON_SCHEMA,
        strict: { type: 'boolean', default: false },
      },
    },
  },
};

export const TOOL = {
  type: 'object',
  required: ['type', 'function'],
  properties: {
    type: { type: 'string', enum: ['function'] },
    function: {
      type: 'object',
      required: ['name'],
      properties: {
        name: FUNCTION_NAME,
        description: { type: 'string' },
        parameters: JSON_SCHEMA,
        strict: { type: 'boolean', description: 'With false the arguments are any object.' },
      },
    },
  },
};

export const NAMED_TOOL = {
  type: 'object',
  required: ['type', 'function'],
  properties: {
    type: { type: 'string', enum: ['function'] },
    function: { type: 'object', required: ['name'], properties: { name: FUNCTION_NAME } },
  },
};

export const TOOL_CALLS = {
  type: 'array',
  minItems: 1,
  maxItems: 128,
  description: 'Of the assistant.',
  items: {
    type: 'object',
    required: ['id', 'type', 'function'],
    properties: {
      id: { type: 'string', minLength: 1 },
      type: { type: 'string', enum: ['function'] },
      function: {
        type: 'object',
        required: ['name', 'arguments'],
        properties: {
          name: { type: 'string', minLength: 1 },
          arguments: { type: 'string', description: 'JSON text of an object.' },
        },
      },
    },
  },
};
