import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Answer, Session } from '../src/client/index.ts';
import { cropTo, drawText, type Box, type Picture } from './picture.ts';
import { infer, onlyOutput, type Output, type Tensor } from './tensors.ts';
import { textBoxes } from './textBoxes.ts';
import { printReceipts, type Print } from './verdict.ts';

const [DETECTION, RECOGNITION] = ['ocr-detection', 'ocr-recognition'] as const;
/** Height of a line as the recognition model takes it, pixels. */
const LINE_HEIGHT = 48;
/** Mean and deviation of red, green and blue that the detection model was trained with. The other has 0.5 for all. */
const IMAGENET = [[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]] as const; // prettier-ignore
const HALF = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]] as const; // prettier-ignore

/** Draws words, finds them in the picture and reads them. `characters` are the classes of the recognition model. */
export async function ocr(
  session: Session,
  print: Print,
  characters: readonly string[],
  words: readonly string[] = ['VOUCHSAFE', 'SIGNS 2026 ANSWERS'],
): Promise<readonly string[]> {
  const picture = drawText(words);
  const detection = await infer(session, DETECTION, [tensorOf(picture, IMAGENET)]);
  const boxes = textBoxes(onlyOutput(detection));
  print(`picture   ${picture.width} × ${picture.height} pixels, boxes found: ${boxes.length}\n`);
  const answers: Answer[] = [detection.answer];
  const texts: string[] = [];
  for (const box of boxes) {
    const line = cropTo(picture, box, LINE_HEIGHT);
    const recognition = await infer(session, RECOGNITION, [tensorOf(line, HALF)]);
    answers.push(recognition.answer);
    const text = readText(onlyOutput(recognition), characters).trim();
    // What looks like text from afar and has none.
    if (text === '') continue;
    print(`${placeOf(box)}  ${text}\n`);
    texts.push(text);
  }
  await printReceipts(session, answers, print);
  return texts;
}

/** The classes of the recognition model beside it, one a line; after them comes the space. */
export async function charactersIn(models: string): Promise<readonly string[]> {
  const text = await readFile(join(models, 'ocr-characters.txt'), 'utf8');
  return [...text.replace(/\n$/, '').split('\n'), ' '];
}

function placeOf({ left, top }: Box): string {
  return `${left},${top}`.padStart(8);
}

/** `[1, 3, height, width]`: three equal channels, normalised. */
function tensorOf({ width, height, pixels }: Picture, channels: typeof IMAGENET | typeof HALF): Tensor {
  const data = new Float32Array(3 * pixels.length);
  channels.forEach(([mean, deviation], channel) => {
    pixels.forEach((value, i) => (data[channel * pixels.length + i] = (value / 255 - mean) / deviation));
  });
  return { name: 'x', datatype: 'FP32', shape: [1, 3, height, width], data };
}

/** Reads `[1, steps, classes]` greedily: the best class of each step, runs of one class once, without blanks (CTC). */
function readText({ shape, data }: Output, characters: readonly string[]): string {
  const [steps = 0, classes = 0] = shape.slice(-2);
  const best = Array.from({ length: steps }, (_, step) => {
    const scores = data.subarray(step * classes, (step + 1) * classes);
    return scores.reduce((top, score, i) => (score > (scores[top] ?? 0) ? i : top), 0);
  });
  return best
    .filter((value, step) => value !== 0 && value !== best[step - 1])
    .map((value) => characters[value - 1] ?? '')
    .join('');
}
