/** A product of a small ternary matrix with a vector, and what it costs. Nothing in here multiplies. */

export type Trit = -1 | 0 | 1;

/** The next value when a weight is pressed. */
export function turned(trit: Trit): Trit {
  return trit === -1 ? 0 : trit === 0 ? 1 : -1;
}

export interface RowSum {
  sum: number;
  /** As one would write it down: `3 − 4 + 1`. */
  written: string;
  /** Additions and subtractions. */
  steps: number;
}

/** One row against the inputs: −1 subtracts, 0 skips, +1 adds. */
export function sumOf(row: readonly Trit[], inputs: readonly number[]): RowSum {
  let sum = 0;
  let steps = 0;
  let written = "";
  row.forEach((trit, index) => {
    const input = inputs[index] ?? 0;
    if (trit === 0) return;
    sum = trit === 1 ? sum + input : sum - input;
    steps += 1;
    const value = input < 0 ? `(${signed(input)})` : String(input);
    if (trit === -1) written += written ? ` − ${value}` : `−${value}`;
    else written += written ? ` + ${value}` : value;
  });
  return { sum, written: written || "nothing", steps };
}

/** With a true minus sign. */
export function signed(value: number): string {
  return value < 0 ? `−${-value}` : String(value);
}

/** Bytes of so many weights, at 2 bits each, as they lie in memory here. */
export function ternaryBytes(weights: number): number {
  return Math.ceil(weights / 4);
}
