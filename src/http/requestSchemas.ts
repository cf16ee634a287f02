import { RUNTIME_TYPES } from '../engine/tensors.ts';
import { NAMED_TOOL, RESPONSE_FORMAT, TOOL, TOOL_CALLS } from './chatShapeSchemas.ts';

/** Bodies of requests, as `openapi.ts` describes them. */
const TOKENS = { type: 'array', minItems: 1, items: { type: 'integer', minimum: 0 } };
const TEXTS = {
  description: 'A text, texts, ids of tokens, or lists of such ids.',
  anyOf: [
    { type: 'string' },
    { type: 'array', minItems: 1, items: { type: 'string' } },
    TOKENS,
    { type: 'array', minItems: 1, items: TOKENS },
  ],
};

export const EMBEDDINGS = {
  type: 'object',
  required: ['model', 'input'],
  properties: {
    model: { type: 'string' },
    input: TEXTS,
    encoding_format: { type: 'string', enum: ['float', 'base64'], default: 'float' },
    user: { type: 'string' },
  },
};

const STOP = { type: 'string', minLength: 1, maxLength: 256 };
const OWN_DEFAULT = 'Default: as the generation_config.json of the model says.';

const GENERATION = {
  model: { type: 'string' },
  n: { type: 'integer', minimum: 1, maximum: 16, default: 1 },
  stop: { anyOf: [STOP, { type: 'array', items: STOP, maxItems: 4 }] },
  seed: { type: 'integer', description: 'Default: drawn by the service and named in the receipt.' },
  temperature: {
    type: 'number',
    minimum: 0,
    maximum: 2,
    description: `0 is greedy. ${OWN_DEFAULT} Where it says nothing: 0.`,
  },
  top_p: { type: 'number', minimum: 0, maximum: 1, description: OWN_DEFAULT },
  top_k: { type: 'integer', minimum: 0, description: `0 is all. ${OWN_DEFAULT}` },
  frequency_penalty: { type: 'number', minimum: -2, maximum: 2, default: 0 },
  presence_penalty: { type: 'number', minimum: -2, maximum: 2, default: 0 },
  stream: { type: 'boolean', default: false },
  stream_options: { type: 'object', properties: { include_usage: { type: 'boolean' } } },
  user: { type: 'string' },
};

export const COMPLETIONS = {
  type: 'object',
  required: ['model', 'prompt'],
  properties: {
    ...GENERATION,
    prompt: { ...TEXTS, description: `${TEXTS.description} Prompts times n is at most 16.` },
    max_tokens: { type: 'integer', minimum: 1, default: 16 },
    logprobs: { type: 'integer', minimum: 0, maximum: 5 },
    echo: { type: 'boolean', default: false, description: 'Not with logprobs, nor with ids of tokens.' },
  },
};

const TEXT_PARTS = {
  type: 'array',
  minItems: 1,
  items: {
    type: 'object',
    required: ['type', 'text'],
    properties: { type: { type: 'string', enum: ['text'] }, text: { type: 'string' } },
  },
};

export const CHAT = {
  type: 'object',
  required: ['model', 'messages'],
  properties: {
    ...GENERATION,
    messages: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['role'],
        properties: {
          role: { type: 'string', enum: ['system', 'developer', 'user', 'assistant', 'tool'] },
          content: {
            anyOf: [{ type: 'string' }, TEXT_PARTS, { type: 'null' }],
            description: 'Required, but beside tool_calls.',
          },
          name: { type: 'string' },
          tool_calls: TOOL_CALLS,
          tool_call_id: {
            type: 'string',
            minLength: 1,
            description: 'Of the role tool, and required there.',
          },
        },
      },
    },
    max_completion_tokens: {
      type: 'integer',
      minimum: 1,
      description: 'Default: what the context of the model holds.',
    },
    max_tokens: { type: 'integer', minimum: 1, description: 'The older name of max_completion_tokens.' },
    logprobs: { type: 'boolean', default: false },
    top_logprobs: { type: 'integer', minimum: 0, maximum: 20, description: 'Needs logprobs.' },
    response_format: RESPONSE_FORMAT,
    tools: { type: 'array', maxItems: 128, items: TOOL },
    tool_choice: {
      anyOf: [{ type: 'string', enum: ['none', 'auto', 'required'] }, NAMED_TOOL],
      description: 'Default: auto with tools, none without.',
    },
    parallel_tool_calls: { type: 'boolean', default: true },
  },
};

const CONTENT_PARTS = {
  type: 'array',
  minItems: 1,
  items: {
    type: 'object',
    required: ['type', 'text'],
    properties: { type: { type: 'string', enum: ['input_text', 'output_text'] }, text: { type: 'string' } },
  },
};

export const RESPONSES = {
  type: 'object',
  required: ['model', 'input'],
  properties: {
    model: GENERATION.model,
    input: {
      anyOf: [
        { type: 'string' },
        {
          type: 'array',
          minItems: 1,
          items: {
            type: 'object',
            required: ['role', 'content'],
            properties: {
              type: { type: 'string', enum: ['message'] },
              role: { type: 'string', enum: ['system', 'developer', 'user', 'assistant'] },
              content: { anyOf: [{ type: 'string' }, CONTENT_PARTS] },
            },
          },
        },
      ],
    },
    instructions: { type: 'string', description: 'A message of the system before the others.' },
    max_output_tokens: {
      type: 'integer',
      minimum: 1,
      description: 'Default: what the context of the model holds.',
    },
    metadata: {
      type: 'object',
      maxProperties: 16,
      additionalProperties: { type: 'string', maxLength: 512 },
      description: 'Echoed.',
    },
    seed: GENERATION.seed,
    store: { type: 'boolean', enum: [false], default: false },
    stream: GENERATION.stream,
    temperature: GENERATION.temperature,
    text: {
      type: 'object',
      properties: {
        format: {
          type: 'object',
          required: ['type'],
          properties: {
            type: { type: 'string', enum: ['text', 'json_object', 'json_schema'] },
            name: { type: 'string' },
            description: { type: 'string' },
            schema: { type: 'object' },
            strict: { type: 'boolean' },
          },
        },
      },
    },
    top_k: GENERATION.top_k,
    top_p: GENERATION.top_p,
    user: GENERATION.user,
  },
};

export const GENERATE = {
  type: 'object',
  required: ['text_input'],
  description: 'Members beside parameters are parameters, too.',
  properties: {
    text_input: { type: 'string' },
    id: { type: 'string', maxLength: 256, description: 'Echoed.' },
    parameters: {
      type: 'object',
      additionalProperties: false,
      properties: {
        max_tokens: { type: 'integer', minimum: 1, default: 16 },
        temperature: GENERATION.temperature,
        top_k: GENERATION.top_k,
        top_p: GENERATION.top_p,
        seed: GENERATION.seed,
        stop: GENERATION.stop,
        frequency_penalty: GENERATION.frequency_penalty,
        presence_penalty: GENERATION.presence_penalty,
        stream: { type: 'boolean', description: 'As the path says.' },
      },
    },
  },
};

export const INFER = {
  type: 'object',
  required: ['inputs'],
  properties: {
    id: { type: 'string' },
    model_name: { type: 'string', description: 'The model of the path, again' },
    parameters: { type: 'object', properties: { binary_data_output: { type: 'boolean' } } },
    inputs: {
      type: 'array',
      items: {
        type: 'object',
        required: ['name', 'shape', 'datatype'],
        properties: {
          name: { type: 'string' },
          shape: { type: 'array', items: { type: 'integer' } },
          datatype: { type: 'string', enum: Object.keys(RUNTIME_TYPES) },
          data: { type: 'array', description: 'Flat, or nested as the shape is' },
          parameters: {
            type: 'object',
            properties: { binary_data_size: { type: 'integer', description: 'Instead of data' } },
          },
        },
      },
    },
    outputs: {
      type: 'array',
      items: {
        type: 'object',
        required: ['name'],
        properties: {
          name: { type: 'string' },
          parameters: { type: 'object', properties: { binary_data: { type: 'boolean' } } },
        },
      },
    },
  },
};
