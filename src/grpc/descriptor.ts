import type { fromJSON } from '@grpc/proto-loader';

type Descriptor = Parameters<typeof fromJSON>[0];
type Fields = Readonly<Record<string, Field>>;

interface Field {
  readonly id: number;
  readonly type: string;
  readonly rule?: 'repeated';
  readonly keyType?: string;
}

const one = (id: number, type: string): Field => ({ id, type });
const list = (id: number, type: string): Field => ({ id, type, rule: 'repeated' });
const map = (id: number, type: string): Field => ({ id, type, keyType: 'string' });

const MESSAGES: Readonly<Record<string, Fields>> = {
  ServerLiveRequest: {},
  ServerLiveResponse: { live: one(1, 'bool') },
  ServerReadyRequest: {},
  ServerReadyResponse: { ready: one(1, 'bool') },
  ModelReadyRequest: { name: one(1, 'string'), version: one(2, 'string') },
  ModelReadyResponse: { ready: one(1, 'bool') },
  ServerMetadataRequest: {},
  ServerMetadataResponse: {
    name: one(1, 'string'),
    version: one(2, 'string'),
    extensions: list(3, 'string'),
  },
  ModelMetadataRequest: { name: one(1, 'string'), version: one(2, 'string') },
  ModelMetadataResponse: {
    name: one(1, 'string'),
    versions: list(2, 'string'),
    platform: one(3, 'string'),
    inputs: list(4, 'TensorMetadata'),
    outputs: list(5, 'TensorMetadata'),
    properties: map(6, 'string'),
  },
  ModelInferRequest: {
    model_name: one(1, 'string'),
    model_version: one(2, 'string'),
    id: one(3, 'string'),
    parameters: map(4, 'InferParameter'),
    inputs: list(5, 'InferInputTensor'),
    outputs: list(6, 'InferRequestedOutputTensor'),
    raw_input_contents: list(7, 'bytes'),
  },
  ModelInferResponse: {
    model_name: one(1, 'string'),
    model_version: one(2, 'string'),
    id: one(3, 'string'),
    parameters: map(4, 'InferParameter'),
    outputs: list(5, 'InferOutputTensor'),
    raw_output_contents: list(6, 'bytes'),
  },
  InferTensorContents: {
    bool_contents: list(1, 'bool'),
    int_contents: list(2, 'int32'),
    int64_contents: list(3, 'int64'),
    uint_contents: list(4, 'uint32'),
    uint64_contents: list(5, 'uint64'),
    fp32_contents: list(6, 'float'),
    fp64_contents: list(7, 'double'),
    bytes_contents: list(8, 'bytes'),
  },
};

/** Fields of a tensor with values, in a request as in an answer. */
const TENSOR: Fields = {
  name: one(1, 'string'),
  datatype: one(2, 'string'),
  shape: list(3, 'int64'),
  parameters: map(4, 'InferParameter'),
  contents: one(5, 'InferTensorContents'),
};

/** Messages that are declared inside others. */
const NESTED: Readonly<Record<string, Readonly<Record<string, Fields>>>> = {
  ModelMetadataResponse: {
    TensorMetadata: { name: one(1, 'string'), datatype: one(2, 'string'), shape: list(3, 'int64') },
  },
  ModelInferRequest: {
    InferInputTensor: TENSOR,
    InferRequestedOutputTensor: { name: one(1, 'string'), parameters: map(2, 'InferParameter') },
  },
  ModelInferResponse: { InferOutputTensor: TENSOR },
};

const PARAMETER: Fields = {
  bool_param: one(1, 'bool'),
  int64_param: one(2, 'int64'),
  string_param: one(3, 'string'),
  double_param: one(4, 'double'),
  uint64_param: one(5, 'uint64'),
};

/** Calls of the service, each with one request `<call>Request` and one answer `<call>Response`. */
export const CALLS = [
  'ServerLive',
  'ServerReady',
  'ModelReady',
  'ServerMetadata',
  'ModelMetadata',
  'ModelInfer',
] as const;
export type CallName = (typeof CALLS)[number];

export const SERVICE = 'inference.GRPCInferenceService';

/**
 * The gRPC service of the Open Inference Protocol v2, as reflection objects of protobufjs: names and numbers are those
 * of its published proto. As a module it is compiled with the rest; a .proto file would have to be shipped beside it.
 */
export const DESCRIPTOR: Descriptor = {
  nested: {
    inference: {
      nested: {
        GRPCInferenceService: {
          methods: Object.fromEntries(
            CALLS.map((call) => [
              call,
              { requestType: `${call}Request`, responseType: `${call}Response`, comment: '' },
            ]),
          ),
        },
        ...Object.fromEntries(
          Object.entries(MESSAGES).map(([name, fields]) => [name, typeOf(fields, NESTED[name])]),
        ),
        InferParameter: {
          fields: { ...PARAMETER },
          oneofs: { parameter_choice: { oneof: Object.keys(PARAMETER) } },
        },
      },
    },
  },
};

function typeOf(fields: Fields, nested: Readonly<Record<string, Fields>> = {}): object {
  return {
    fields: { ...fields },
    nested: Object.fromEntries(Object.entries(nested).map(([name, inner]) => [name, typeOf(inner)])),
  };
}
