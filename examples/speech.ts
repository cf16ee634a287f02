/** Samples a second. */
export const SAMPLE_RATE = 16_000;

/** First three formants of vowels, Hz: resonances of the vocal tract, after Peterson and Barney (1952), men. */
const VOWELS = [
  [730, 1090, 2440],
  [270, 2290, 3010],
  [530, 1840, 2480],
  [300, 870, 2240],
] as const;
/** Width of each formant, Hz. */
const BANDWIDTHS = [80, 100, 140] as const;
/** Length of one syllable, seconds: people speak about four a second. */
const SYLLABLE = 0.26;

/** Part of a recording and what it holds. */
export interface Part {
  readonly name: string;
  readonly seconds: number;
  readonly samples: Float32Array;
}

/** A recording that nobody spoke: faint noise, syllables by formant synthesis, a pure tone, faint noise. */
export function mintRecording(): readonly Part[] {
  const chance = mulberry32(7);
  const noise = (level: number) => () => level * (2 * chance() - 1);
  return [
    part('faint noise', 1, noise(0.001)),
    part('syllables', 1.8, syllables(noise(1))),
    part('faint noise', 1, noise(0.001)),
    part('tone of 440 Hz', 1, (t) => 0.1 * Math.sin(2 * Math.PI * 440 * t)),
  ];
}

function part(name: string, seconds: number, sample: (t: number) => number): Part {
  const samples = Float32Array.from({ length: seconds * SAMPLE_RATE }, (_, i) => sample(i / SAMPLE_RATE));
  return { name, seconds, samples };
}

/** Pulses of a voice and some breath, through resonators in a row whose frequencies glide from vowel to vowel. */
function syllables(breath: () => number): (t: number) => number {
  const resonators = BANDWIDTHS.map((bandwidth) => resonator(bandwidth));
  let phase = 0;
  let pulse = 0;
  return (t) => {
    const [index, inside] = [Math.floor(t / SYLLABLE), (t % SYLLABLE) / SYLLABLE];
    // The pitch falls over the sentence and moves within each syllable.
    const pitch = 130 - 14 * t + 12 * Math.sin(Math.PI * inside);
    phase = (phase + pitch / SAMPLE_RATE) % 1;
    const opened = phase < 0.6 ? Math.sin((Math.PI * phase) / 0.6) ** 2 : 0;
    const source = opened - pulse + 0.01 * breath();
    pulse = opened;
    const loudness = Math.min(1, 6 * inside, 4 * (1 - inside));
    const [from, to] = [vowel(index), vowel(index + 1)];
    const glide = Math.max(0, (inside - 0.6) / 0.4);
    const voice = resonators.reduce((x, resonate, n) => {
      return resonate(x, (from[n] ?? 0) * (1 - glide) + (to[n] ?? 0) * glide);
    }, source);
    return 0.5 * loudness * voice;
  };
}

const vowel = (index: number): readonly number[] => VOWELS[index % VOWELS.length] ?? VOWELS[0];

/** Digital resonator of the second order with gain 1 at 0 Hz (Klatt 1980). */
function resonator(bandwidth: number): (x: number, frequency: number) => number {
  const c = -Math.exp((-2 * Math.PI * bandwidth) / SAMPLE_RATE);
  let [y1, y2] = [0, 0];
  return (x, frequency) => {
    const b =
      2 * Math.exp((-Math.PI * bandwidth) / SAMPLE_RATE) * Math.cos((2 * Math.PI * frequency) / SAMPLE_RATE);
    [y1, y2] = [(1 - b - c) * x + b * y1 + c * y2, y1];
    return y1;
  };
}

/** Numbers from 0 to 1 that look like chance, the same each time. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
