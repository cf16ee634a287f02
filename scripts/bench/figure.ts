/** One measured value, and what was aimed at. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal: string;
  readonly met: boolean | undefined;
}

export function figure(name: string, value: number, unit: string): Figure {
  return { name, value, unit, goal: '', met: undefined };
}

export function goal(
  name: string,
  value: number,
  unit: string,
  text: string,
  met: (value: number) => boolean,
): Figure {
  return { name, value, unit, goal: text, met: met(value) };
}
