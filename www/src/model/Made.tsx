/** What sets a model apart from a plain stack of layers, pictured: experts, a loop, inputs that are mostly zeros. */

import type { ExpertsInfo, LoopInfo, ModelInfo, SparseInput } from "ternlight";
import { share } from "../text/format";
import { useWidth } from "../ui/useWidth";

const ROW = 16;
const LEFT = 72;

/** The least and the greatest of some numbers, as words. */
function range(numbers: readonly number[]): string {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? String(least) : `${least} to ${most}`;
}

/** A row for each layer and a cell for each expert; as many as a token is given to are filled. */
function Experts({ experts: { count, active, shared } }: { experts: ExpertsInfo }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const mixtures = count.flatMap((experts, layer) => (experts > 0 ? [layer] : []));
  const counts = mixtures.map((layer) => count[layer] ?? 0);
  const given = range(mixtures.map((layer) => active[layer] ?? 0));
  const cell = Math.min(ROW, (width - LEFT) / Math.max(...counts));
  const gap = cell > 6 ? 2 : cell > 3 ? 1 : 0;
  return (
    <>
      <h3>Experts</h3>
      <p class="note">
        {mixtures.length} of {count.length} layers have {range(counts)} networks each. A router gives every
        token to {given} of them{shared ? ", and all tokens go through one more" : ""}: the others are not
        even read.
      </p>
      <div ref={place} class="drawn">
        <svg
          class="picture"
          viewBox={`0 0 ${width} ${count.length * ROW}`}
          role="img"
          aria-label={`${range(counts)} experts in each of ${mixtures.length} layers; a token is given to ${given} of them.`}
        >
          {count.map((experts, layer) => (
            <g key={layer}>
              <text x={0} y={layer * ROW + 12}>
                Layer {layer}
              </text>
              {experts === 0 && (
                <text x={LEFT} y={layer * ROW + 12}>
                  one network for all tokens
                </text>
              )}
              {Array.from({ length: experts }, (_, expert) => (
                <rect
                  key={expert}
                  data-expert={expert < (active[layer] ?? 0) ? "active" : "idle"}
                  x={LEFT + expert * cell}
                  y={layer * ROW + 2}
                  width={cell - gap}
                  height={ROW - 4}
                />
              ))}
            </g>
          ))}
        </svg>
      </div>
    </>
  );
}

const ENDS = {
  last: "A token leaves it after the last pass.",
  gate: "After each pass a gate says how likely a token is done.",
  router: "A router says beforehand how many passes each token takes.",
} as const;

/** Layers as boxes, and a line back from the end of the loop to its beginning. */
function Loop({ loop, times }: { loop: LoopInfo; times: number }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const { before, inside, after, exit } = loop;
  const all = before + inside + after;
  const step = Math.min(44, width / all);
  const box = step * 0.78;
  const [start, end] = [before * step + box / 2, (before + inside - 1) * step + box / 2];
  return (
    <>
      <h3>The loop</h3>
      <p class="note">
        {inside} {inside === 1 ? "layer runs" : "layers run"} {exit === "router" ? `up to ${times}` : times}{" "}
        times over, so a token goes through {exit === "router" && "up to "}
        {before + inside * times + after} layers with the weights of {all}. {ENDS[exit]}
      </p>
      <div ref={place} class="drawn">
        <svg
          class="picture"
          viewBox={`0 0 ${width} 66`}
          role="img"
          aria-label={`${before} layers, then a loop of ${inside}, then ${after}.`}
        >
          {Array.from({ length: all }, (_, index) => (
            <rect
              key={index}
              data-looped={index >= before && index < before + inside}
              x={index * step}
              y={34}
              width={box}
              height={30}
            />
          ))}
          <path data-way="back" d={`M${end} 32V18H${start}V30`} />
          <path data-way="tip" d={`M${start - 4} 25L${start} 31L${start + 4} 25`} />
          <text class="strong" x={(start + end) / 2} y={13} text-anchor="middle">
            {exit === "router" ? `≤ ${times}` : times} ×
          </text>
        </svg>
      </div>
    </>
  );
}

/** Of each linear layer a bar, filled as far as its inputs are kept. */
function Zeros({ inputs }: { inputs: readonly SparseInput[] }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const room = Math.max(40, width - LEFT - 120);
  return (
    <>
      <h3>Zeros among the inputs</h3>
      <p class="note">
        The model was trained to keep only the largest inputs of these layers. The others are 0, and the
        weights that they would meet need not be read.
      </p>
      <div ref={place} class="drawn">
        <svg
          class="picture"
          viewBox={`0 0 ${width} ${inputs.length * 20}`}
          role="img"
          aria-label={inputs.map(({ layer, kept }) => `${layer}: ${share(kept)} kept`).join(", ")}
        >
          {inputs.map(({ layer, kept, block }, index) => (
            <g key={layer}>
              <text x={0} y={index * 20 + 14}>
                {layer}
              </text>
              <rect data-expert="idle" x={LEFT} y={index * 20 + 3} width={room} height={13} />
              <rect data-expert="active" x={LEFT} y={index * 20 + 3} width={room * kept} height={13} />
              <text x={LEFT + room + 8} y={index * 20 + 14}>
                {share(kept)} kept{block ? ` of ${block}` : ""}
              </text>
            </g>
          ))}
        </svg>
      </div>
    </>
  );
}

export function Made({ info }: { info: ModelInfo }) {
  return (
    <>
      {info.experts && <Experts experts={info.experts} />}
      {info.loop && <Loop loop={info.loop} times={info.loops ?? 1} />}
      {info.sparseInputs.length > 0 && <Zeros inputs={info.sparseInputs} />}
    </>
  );
}
