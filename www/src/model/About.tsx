/** "About this model": what it is made of, pictured. Everything shown is counted from the loaded weights. */

import { lazy, Suspense } from "preact/compat";
import { useState } from "preact/hooks";
import type { ModelInfo, TensorSummary } from "ternlight";
import { bytes, count, share } from "../text/format";
import { Facts } from "../ui/Facts";
import { useWidth } from "../ui/useWidth";
import { LoadStrip } from "./LoadStrip";
import { ensureReady, model } from "./loading";
import { addTrits, type Part, partsOf, shortName, type Trits, total } from "./modelParts";
import { Proof } from "./Proof";

// Few models have what it draws.
const Made = lazy(() => import("./Made").then((part) => part.Made));

const SIGNS = ["-", "0", "+"] as const;
const SIGN_NAMES = ["−1", "0", "+1"] as const;

function shares(trits: Trits): [number, number, number] {
  const sum = total(trits) || 1;
  return [trits[0] / sum, trits[1] / sum, trits[2] / sum];
}

function sharesInWords(trits: Trits): string {
  return shares(trits)
    .map((value, index) => `${SIGN_NAMES[index] ?? ""}: ${share(value)}`)
    .join(", ");
}

/** Three stretches of one bar, in the proportion of −1, 0 and +1. */
function TritBar({
  trits,
  x,
  y,
  width,
  height,
}: {
  trits: Trits;
  x: number;
  y: number;
  width: number;
  height: number;
}) {
  let at = x;
  return (
    <>
      {shares(trits).map((value, index) => {
        const start = at;
        at += value * width;
        return (
          <rect
            key={index}
            data-trit={SIGNS[index]}
            x={start}
            y={y}
            width={Math.max(0, at - start)}
            height={height}
          />
        );
      })}
    </>
  );
}

function Whole({ trits }: { trits: Trits }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const parts = shares(trits);
  let at = 0;
  return (
    <div ref={place}>
      <svg
        class="picture"
        viewBox={`0 0 ${width} 56`}
        role="img"
        aria-label={`Share of the ternary weights. ${sharesInWords(trits)}.`}
      >
        <TritBar trits={trits} x={0} y={24} width={width} height={32} />
        {parts.map((value, index) => {
          const x = at;
          at += value * width;
          return (
            <text key={index} class="strong" x={x} y={15} font-size={13}>
              {SIGN_NAMES[index]} {share(value)}
            </text>
          );
        })}
      </svg>
    </div>
  );
}

const ROW = 20;
const BAR = 13;
const LEFT = 88;
const RIGHT = 72;

/** Every part of the model as one bar: as long as its bytes, divided as its weights are. */
function Stack({
  parts,
  chosen,
  onChoose,
}: {
  parts: Part[];
  chosen: Part | undefined;
  onChoose: (part: Part) => void;
}) {
  const [place, width] = useWidth<HTMLDivElement>();
  const longest = Math.max(...parts.map((one) => one.bytes));
  const room = Math.max(40, width - LEFT - RIGHT);
  return (
    <div ref={place}>
      <svg
        class="picture"
        viewBox={`0 0 ${width} ${parts.length * ROW}`}
        role="img"
        aria-label="The parts of the model, each as long as its bytes. The table below has the numbers."
      >
        {parts.map((one, index) => {
          const y = index * ROW + (ROW - BAR) / 2;
          const long = (one.bytes / longest) * room;
          const ternary = (one.ternaryBytes / longest) * room;
          return (
            <g key={one.name} onClick={() => onChoose(one)} style={{ cursor: "pointer" }}>
              <rect x={0} y={index * ROW} width={width} height={ROW} fill="transparent" />
              <text class={one === chosen ? "strong" : undefined} x={0} y={y + 11}>
                {one.name}
              </text>
              {ternary > 0 && <TritBar trits={one.trits} x={LEFT} y={y} width={ternary} height={BAR} />}
              {long > ternary && (
                <rect
                  data-form={one.layer === null ? "embedding" : "plain"}
                  x={LEFT + ternary}
                  y={y}
                  width={long - ternary}
                  height={BAR}
                />
              )}
              <text class={one === chosen ? "strong" : undefined} x={LEFT + long + 7} y={y + 11}>
                {bytes(one.bytes)}
              </text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** The matrices of one part, drawn to one scale: as wide as their inputs, as tall as their outputs. */
function Matrices({ part }: { part: Part }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const matrices = part.tensors.filter(({ rows, cols }) => rows > 1 && cols > 1);
  if (matrices.length === 0) return <div ref={place} />;
  const gap = 18;
  const label = 38;
  const widest = Math.max(...matrices.map(({ cols }) => cols));
  const tallest = Math.max(...matrices.map(({ rows }) => rows));
  const wished = Math.min(130 / Math.min(widest, tallest), 190 / tallest, 300 / widest);
  const scale = Math.min(wished, width / widest);
  const size = (tensor: TensorSummary) => ({
    w: Math.max(3, tensor.cols * scale),
    h: Math.max(3, tensor.rows * scale),
  });
  // Set in lines like words, so that a narrow screen gets more lines and not smaller pictures.
  const lines: { tensor: TensorSummary; x: number; w: number; h: number }[][] = [[]];
  let x = 0;
  for (const tensor of matrices) {
    const { w, h } = size(tensor);
    const box = Math.max(w, 88);
    if (x > 0 && x + box > width) {
      lines.push([]);
      x = 0;
    }
    lines.at(-1)?.push({ tensor, x, w, h });
    x += box + gap;
  }
  let y = 0;
  const placed = lines.flatMap((line) => {
    const height = Math.max(...line.map(({ h }) => h));
    const row = line.map((one) => ({ ...one, y: y + height - one.h, base: y + height }));
    y += height + label + 14;
    return row;
  });
  return (
    <div ref={place}>
      <svg
        class="picture"
        viewBox={`0 0 ${width} ${y}`}
        role="img"
        aria-label={`The matrices of ${part.name}, drawn to scale.`}
      >
        {placed.map(({ tensor, x: left, y: top, w, h, base }) => (
          <g key={tensor.name}>
            {tensor.counts ? (
              <TritBar trits={tensor.counts} x={left} y={top} width={w} height={h} />
            ) : (
              <rect
                data-form={part.layer === null ? "embedding" : "plain"}
                x={left}
                y={top}
                width={w}
                height={h}
              />
            )}
            <text class="strong" x={left} y={base + 16}>
              {shortName(tensor.name)}
            </text>
            <text x={left} y={base + 33}>
              {tensor.rows} × {tensor.cols}
            </text>
          </g>
        ))}
      </svg>
    </div>
  );
}

function Tensors({ part }: { part: Part }) {
  const ternary = part.tensors.some(({ counts }) => counts !== null);
  return (
    <section class="tablebox" tabIndex={0} aria-label={`Tensors of ${part.name}`}>
      <table class="data figures">
        <thead>
          <tr>
            <th scope="col">Tensor</th>
            <th scope="col">Shape</th>
            <th scope="col">In the file</th>
            <th scope="col">In memory</th>
            <th scope="col" class="right">
              Bytes
            </th>
            {ternary &&
              SIGN_NAMES.map((name) => (
                <th key={name} scope="col" class="right">
                  {name}
                </th>
              ))}
          </tr>
        </thead>
        <tbody>
          {part.tensors.map((tensor) => (
            <tr key={tensor.name}>
              <td>{tensor.name}</td>
              <td>{tensor.rows > 1 ? `${tensor.rows} × ${tensor.cols}` : tensor.cols}</td>
              <td>{tensor.encoding}</td>
              <td>{tensor.form}</td>
              <td class="right">{bytes(tensor.bytes)}</td>
              {ternary &&
                SIGN_NAMES.map((name, index) => (
                  <td key={name} class="right">
                    {tensor.counts ? share(shares(tensor.counts)[index] ?? 0) : ""}
                  </td>
                ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Legend({ ternary }: { ternary: boolean }) {
  return (
    <ul class="legend">
      {ternary &&
        SIGNS.map((sign, index) => (
          <li key={sign}>
            <i data-trit={sign} />
            {SIGN_NAMES[index]}
          </li>
        ))}
      <li>
        <i data-form="plain" />
        {ternary ? "norms and other weights" : "weights of the layers"}
      </li>
      <li>
        <i data-form="embedding" />
        embedding and output
      </li>
    </ul>
  );
}

function ModelFacts({ info, trits, parts }: { info: ModelInfo; trits: number; parts: Part[] }) {
  const ternaryBytes = parts.reduce((sum, one) => sum + one.ternaryBytes, 0);
  const whole = ((info.packedBytes * 8) / info.params).toFixed(2);
  const facts: [string, string][] = [
    ["Parameters", count(info.params)],
    ["Layers", String(info.layers)],
    ["Width", `${info.hidden} (feed-forward ${info.feedForward})`],
    [
      "Heads",
      info.kvHeads === info.heads ? String(info.heads) : `${info.heads} (${info.kvHeads} for keys, values)`,
    ],
    ["Vocabulary", info.vocab.toLocaleString("en")],
    ["Context", `${info.context.toLocaleString("en")} of ${info.trainedContext.toLocaleString("en")} tokens`],
    ["File", bytes(info.fileBytes)],
    ["In memory", bytes(info.packedBytes)],
    [
      "Bits per weight",
      trits > 0 ? `${((ternaryBytes * 8) / trits).toFixed(2)} ternary, ${whole} in all` : whole,
    ],
    ["Architecture", info.arch],
    ["Kernels", info.kernels.join(", ")],
    ["Licence", info.license ?? "not stated in the file"],
  ];
  return <Facts facts={facts} />;
}

/** Why a model of ternary weights takes more than two bits for each: what is not ternary has a share of its own. */
function bitsInWords(info: ModelInfo, parts: Part[]): string {
  const ternaryBytes = parts.reduce((sum, one) => sum + one.ternaryBytes, 0);
  const trits = total(addTrits(parts));
  const others = info.packedBytes - ternaryBytes;
  const bits = (bytes: number, weights: number) => ((bytes * 8) / weights).toFixed(2);
  return (
    `A ternary weight takes ${bits(ternaryBytes, trits)} bits here. The other ${count(info.params - trits)} weights, ` +
    `above all the table of ${info.vocab.toLocaleString("en")} tokens, need more bits to be exact and are ` +
    `${share(others / info.packedBytes)} of the ${bytes(info.packedBytes)}. So it is ` +
    `${bits(info.packedBytes, info.params)} bits per weight for the whole model: the smaller a model, the more its table weighs.`
  );
}

function Loaded({ info, name }: { info: ModelInfo; name: string }) {
  const parts = partsOf(info);
  const [at, setAt] = useState(() =>
    Math.max(
      0,
      parts.findIndex(({ layer }) => layer !== null),
    ),
  );
  const chosen = parts[at];
  const trits = addTrits(parts);
  const ternary = total(trits) > 0;
  return (
    <>
      <h2>{name}</h2>
      <p class="lead">
        {ternary
          ? `${share(total(trits) / info.params)} of its ${count(info.params)} weights are ternary: each is −1, 0 or +1, so multiplying by it is adding, skipping or subtracting.`
          : `Its ${count(info.params)} weights are kept in a few bits each. None of them are ternary, so there are no shares of −1, 0 and +1 to show.`}
      </p>
      {ternary && (
        <>
          <h3>Minus one, zero, plus one</h3>
          <Whole trits={trits} />
          <p class="note">{bitsInWords(info, parts)}</p>
        </>
      )}
      <ModelFacts info={info} trits={total(trits)} parts={parts} />
      {(info.experts || info.loop || info.sparseInputs.length > 0) && (
        <Suspense fallback={null}>
          <Made info={info} />
        </Suspense>
      )}
      <h3>Where the bytes are</h3>
      <Legend ternary={ternary} />
      <Stack parts={parts} chosen={chosen} onChoose={(one) => setAt(parts.indexOf(one))} />
      <h3 id="inside">Inside</h3>
      <p class="choose">
        <select
          aria-labelledby="inside"
          value={at}
          onChange={(event) => setAt(Number(event.currentTarget.value))}
        >
          {parts.map((one, index) => (
            <option key={one.name} value={index}>
              {one.name}
            </option>
          ))}
        </select>
      </p>
      {chosen && (
        <>
          <Matrices part={chosen} />
          <Tensors part={chosen} />
        </>
      )}
      <Proof />
    </>
  );
}

/** Stands in for a view that needs a model while there is none. */
export function NoModel({ children }: { children: string }) {
  const { state } = model.value;
  return (
    <div class="void">
      <p>{children}</p>
      {state === "idle" && (
        <button
          type="button"
          class="button main"
          onClick={() => void ensureReady(new AbortController().signal).catch(() => {})}
        >
          Load {model.value.name}
          {model.value.size ? `, ${bytes(model.value.size)}` : ""}
        </button>
      )}
      <LoadStrip />
    </div>
  );
}

export function About() {
  const { info, name } = model.value;
  return (
    <div class="scroll" id="content" tabIndex={-1}>
      <article class="page">
        {info ? (
          <Loaded key={name} info={info} name={name} />
        ) : (
          <NoModel>The picture is drawn from the loaded weights, and none are loaded yet.</NoModel>
        )}
      </article>
    </div>
  );
}
