import type { Datatype, Tensor } from '../../src/engine/engine.ts';
import { requireInputs } from '../../src/engine/tensors.ts';
import { FakeEngine } from './fakeEngine.ts';

export const DATATYPES: readonly Datatype[] = [
  'BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', 'FP32', 'FP64', 'BYTES',
]; // prettier-ignore

/** Gives tensors back, `x` as `y` and `x2` as `y2`, after the checks of the real engine. */
export class TensorEngine extends FakeEngine {
  constructor() {
    super();
    this.addModel('fake', ['FP32', [-1]]);
    this.addModel('two', ['FP32', [-1]], ['BYTES', [-1]]);
    this.addModel('grid', ['INT16', [2, -1]]);
    for (const datatype of DATATYPES) this.addModel(datatype, [datatype, [-1]]);
  }

  addModel(id: string, ...specs: readonly (readonly [Datatype, readonly number[]])[]): void {
    const named = (letter: string) =>
      specs.map(([datatype, shape], i) => ({ name: `${letter}${i === 0 ? '' : i + 1}`, datatype, shape }));
    this.models.set(id, { ...this.models.get('fake')!, id, inputs: named('x'), outputs: named('y') });
  }

  override async infer(
    ...[model, inputs, options]: Parameters<FakeEngine['infer']>
  ): Promise<readonly Tensor[]> {
    requireInputs(this.models.get(model)!, inputs);
    const outputs = await super.infer(model, inputs, options);
    return outputs.map((output) => ({ ...output, name: output.name.replace('x', 'y') }));
  }
}
