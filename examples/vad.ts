import type { Answer, Session } from '../src/client/index.ts';
import { mintRecording, SAMPLE_RATE, type Part } from './speech.ts';
import { infer, outputOf } from './tensors.ts';
import { printReceipts, type Print } from './verdict.ts';

const MODEL = 'silero-vad-v5';
/** Samples that the model takes at a time: 32 ms. */
const WINDOW = 512;
const BARS = '▁▂▃▄▅▆▇█';

export interface HeardPart {
  readonly name: string;
  /** Mean of the probabilities of speech. */
  readonly speech: number;
}

/** How likely each 32 ms of a recording are speech. The state of the model travels with each request. */
export async function vad(session: Session, print: Print): Promise<readonly HeardPart[]> {
  const answers: Answer[] = [];
  const heard: HeardPart[] = [];
  let state = new Float32Array(2 * 128);
  for (const part of mintRecording()) {
    const chances: number[] = [];
    for (const window of windowsOf(part)) {
      const inference = await infer(session, MODEL, [
        { name: 'input', datatype: 'FP32', shape: [1, WINDOW], data: window },
        { name: 'state', datatype: 'FP32', shape: [2, 1, 128], data: state },
        { name: 'sr', datatype: 'INT64', shape: [], data: BigInt64Array.of(BigInt(SAMPLE_RATE)) },
      ]);
      state = outputOf(inference, 'stateN').data;
      chances.push(outputOf(inference, 'output').data[0] ?? 0);
      answers.push(inference.answer);
    }
    const speech = chances.reduce((sum, chance) => sum + chance, 0) / chances.length;
    const bars = chances.map((chance) => BARS[Math.min(7, Math.floor(chance * 8))]).join('');
    print(`${part.name.padEnd(15)} ${speech.toFixed(2)} ${bars}\n`);
    heard.push({ name: part.name, speech });
  }
  await printReceipts(session, answers, print);
  return heard;
}

/** Whole windows only. */
function windowsOf({ samples }: Part): readonly Float32Array<ArrayBuffer>[] {
  const count = Math.floor(samples.length / WINDOW);
  return Array.from({ length: count }, (_, i) => samples.slice(i * WINDOW, (i + 1) * WINDOW));
}
