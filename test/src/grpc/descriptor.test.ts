import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromJSON, loadSync, type AnyDefinition, type PackageDefinition } from '@grpc/proto-loader';
import { CALLS, DESCRIPTOR, SERVICE } from '../../../src/grpc/descriptor.ts';
import { describeCorpus } from '../../support/corpus.ts';

interface Shape {
  readonly name: string;
  readonly field: readonly {
    name: string;
    number: number;
    type: unknown;
    label: unknown;
    typeName: string;
  }[];
  readonly nestedType: readonly Shape[];
  readonly oneofDecl: readonly { name: string }[];
}

/** What is a fact of a message: names, numbers, types. Map entries have names of the library. */
function factsOf({ name, field, nestedType, oneofDecl }: Shape): unknown {
  return {
    name,
    fields: field
      .map(({ name: fieldName, number, type, label, typeName }) => ({
        fieldName,
        number,
        type,
        label,
        typeName: typeName.split('.').at(-1),
      }))
      .sort((a, b) => a.number - b.number),
    nested: nestedType.map(factsOf).sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))),
    oneofs: oneofDecl.map((oneof) => oneof.name),
  };
}

function messagesOf(definitions: PackageDefinition): Readonly<Record<string, unknown>> {
  const isMessage = (definition: AnyDefinition): boolean =>
    'format' in definition && definition.format === 'Protocol Buffer 3 DescriptorProto';
  return Object.fromEntries(
    Object.entries(definitions)
      .filter(([, definition]) => isMessage(definition))
      .map(([name, definition]) => [name, factsOf(definition['type'] as Shape)]),
  );
}

function callsOf(definitions: PackageDefinition): unknown {
  return Object.entries(definitions[SERVICE]!)
    .map(([name, method]) => {
      const { path, requestStream, responseStream, requestType, responseType } = method as {
        path: string;
        requestStream: boolean;
        responseStream: boolean;
        requestType: { type: Shape };
        responseType: { type: Shape };
      };
      return [name, path, requestStream, responseStream, requestType.type.name, responseType.type.name];
    })
    .sort();
}

const ours = fromJSON(DESCRIPTOR, { keepCase: true });

describe('the descriptor', () => {
  test('has the calls that are answered', () => {
    expect(Object.keys(ours[SERVICE]!).sort()).toEqual([...CALLS].sort());
  });
});

describeCorpus('the published proto', 'standards/vectors/inference', (directory) => {
  const published = loadSync(join(directory, 'open_inference_grpc.proto'), { keepCase: true });

  test('has the same messages, fields, numbers and types', () => {
    expect(Object.keys(messagesOf(published)).length).toBeGreaterThan(12);
    expect(messagesOf(ours)).toEqual(messagesOf(published));
  });

  test('has the same calls', () => {
    expect(callsOf(ours)).toEqual(callsOf(published));
  });

  test('writes the same bytes', () => {
    const request = {
      model_name: 'm',
      id: 'i',
      parameters: { a: { int64_param: '-1' }, b: { bool_param: false } },
      inputs: [{ name: 'x', datatype: 'INT32', shape: ['2', '300'], contents: { int_contents: [-1, 5] } }],
      raw_input_contents: [Buffer.of(1, 2)],
    };
    const serialize = (definitions: PackageDefinition): Buffer =>
      (definitions['inference.ModelInferRequest'] as { serialize: (value: object) => Buffer }).serialize(
        request,
      );
    expect(serialize(ours)).toEqual(serialize(published));
  });
});
