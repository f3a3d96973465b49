/** A matrix product to touch: inputs above, weights below them, sums at the right; then its bytes beside those of f16. */

import { useState } from "preact/hooks";
import { signed, sumOf, type Trit, ternaryBytes, turned } from "./product";

const START: Trit[][] = [
  [1, 0, -1, 1, 0, 0],
  [0, -1, 1, 0, 1, -1],
  [-1, 0, 0, 1, 1, 0],
  [1, 1, 0, 0, -1, 0],
];
const INPUTS = [3, 7, 2, 5, 1, 4];
const LARGEST = 127;

const NAMES: Record<Trit, string> = { [-1]: "−1", 0: "0", 1: "+1" };
const SIGNS: Record<Trit, string> = { [-1]: "-", 0: "0", 1: "+" };

function Squares({ count, kind }: { count: number; kind: string }) {
  return (
    <span class="squares" data-kind={kind} aria-hidden="true">
      {Array.from({ length: count }, (_, index) => (
        <i key={index} />
      ))}
    </span>
  );
}

function Bytes({ weights }: { weights: number }) {
  const small = ternaryBytes(weights);
  return (
    <dl class="beside figures">
      <div>
        <dt>as f16</dt>
        <dd>
          <Squares count={2 * weights} kind="half" /> {2 * weights} bytes
        </dd>
      </div>
      <div>
        <dt>ternary</dt>
        <dd>
          <Squares count={small} kind="ternary" /> {small} bytes
        </dd>
      </div>
    </dl>
  );
}

export function Toy() {
  const [weights, setWeights] = useState(START);
  const [inputs, setInputs] = useState(INPUTS);
  const [told, setTold] = useState(0);
  const sums = weights.map((row) => sumOf(row, inputs));
  const count = weights.reduce((total, row) => total + row.length, 0);
  const steps = sums.reduce((total, one) => total + one.steps, 0);
  const turn = (row: number, column: number) => {
    setWeights((before) =>
      before.map((line, y) =>
        y === row ? line.map((trit, x) => (x === column ? turned(trit) : trit)) : line,
      ),
    );
    setTold(row);
  };
  const type = (column: number, value: number) => {
    if (!Number.isFinite(value)) return;
    const whole = Math.round(Math.min(Math.max(value, -LARGEST), LARGEST));
    setInputs((before) => before.map((old, x) => (x === column ? whole : old)));
  };
  const shown = sums[told];
  return (
    <div class="toy">
      <table class="figures">
        <caption class="unseen">Inputs, weights and sums. Press a weight to change it.</caption>
        <thead>
          <tr>
            {inputs.map((value, column) => (
              <th key={column} scope="col">
                <input
                  type="number"
                  inputMode="numeric"
                  aria-label={`Input ${column + 1}`}
                  min={-LARGEST}
                  max={LARGEST}
                  value={value}
                  onInput={(event) => type(column, event.currentTarget.valueAsNumber)}
                />
              </th>
            ))}
            <th scope="col" class="sum">
              sum
            </th>
          </tr>
        </thead>
        <tbody>
          {weights.map((line, row) => (
            <tr key={row} data-told={row === told}>
              {line.map((trit, column) => (
                <td key={column}>
                  <button
                    type="button"
                    data-trit={SIGNS[trit]}
                    aria-label={`Row ${row + 1}, column ${column + 1}: ${NAMES[trit]}`}
                    onClick={() => turn(row, column)}
                  >
                    {NAMES[trit]}
                  </button>
                </td>
              ))}
              <td class="sum">
                <output aria-label={`Sum of row ${row + 1}`}>{signed(sums[row]?.sum ?? 0)}</output>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div class="told">
        <p class="figures" aria-live="polite">
          Row {told + 1}: {shown?.written} = <strong>{signed(shown?.sum ?? 0)}</strong>
        </p>
        <p class="cost figures">
          {steps} additions and subtractions, {count - steps} weights skipped,{" "}
          <strong>0 multiplications</strong>. With f16 weights it is {count} multiplications, and the
          additions come on top.
        </p>
        <Bytes weights={count} />
      </div>
    </div>
  );
}
