/** While a reply is written: which experts the last tokens went to, and how many passes through the loop each took. */

import { useEffect, useRef } from "preact/hooks";
import type { Inside } from "../state/answer";

/** How much of an expert's glow is left after another token. */
const FADE = 0.65;

/** A row for each layer, a cell for each expert; those of the last token at full strength, earlier ones fading. */
function Experts({ fired, counts }: { fired: readonly (readonly number[])[]; counts: readonly number[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const glow = useRef<Float32Array[]>([]);
  const columns = Math.max(...counts);
  useEffect(() => {
    const to = canvas.current?.getContext("2d");
    if (!canvas.current || !to) return;
    const { width, height } = canvas.current;
    const [w, h] = [width / columns, height / fired.length];
    const gap = Math.min(w, h) > 4 ? 2 : Math.min(w, h) > 2 ? 1 : 0;
    to.clearRect(0, 0, width, height);
    to.fillStyle = getComputedStyle(canvas.current).color;
    fired.forEach((experts, row) => {
      glow.current[row] ??= new Float32Array(columns);
      const light = glow.current[row];
      for (let expert = 0; expert < columns; expert += 1) light[expert] = (light[expert] ?? 0) * FADE;
      for (const expert of experts) light[expert] = 1;
      for (let expert = 0; expert < (counts[row % counts.length] ?? 0); expert += 1) {
        to.globalAlpha = 0.13 + 0.87 * (light[expert] ?? 0);
        to.fillRect(expert * w, row * h, w - gap, h - gap);
      }
    });
  }, [fired]);
  return (
    <canvas
      ref={canvas}
      width={Math.max(columns, Math.min(columns * 24, 1200))}
      height={fired.length * (fired.length > 16 ? 6 : 16)}
      style={{ width: `${Math.min(columns * 12, 600)}px` }}
    />
  );
}

/** A bar for each of the last tokens, as high as the passes that it took. */
function Passes({ loops }: { loops: readonly number[] }) {
  const most = Math.max(...loops);
  const outline = loops
    .map((value, index) => `M${index} ${most}V${most - value}H${index + 0.7}V${most}`)
    .join("");
  return (
    <svg aria-hidden="true" viewBox={`0 0 60 ${most}`} preserveAspectRatio="none">
      <path d={outline} />
    </svg>
  );
}

export function Inner({ inside: { experts, counts, loops } }: { inside: Inside }) {
  return (
    <div class="inner" aria-hidden="true">
      {experts && (
        <figure data-inner="experts">
          <Experts fired={experts} counts={counts} />
          <figcaption>Experts of each layer that this token went to</figcaption>
        </figure>
      )}
      {loops.length > 0 && (
        <figure data-inner="loops">
          <Passes loops={loops} />
          <figcaption class="figures">
            {loops.at(-1)} {loops.at(-1) === 1 ? "pass" : "passes"} through the loop for this token,{" "}
            {(loops.reduce((a, b) => a + b, 0) / loops.length).toFixed(1)} on average
          </figcaption>
        </figure>
      )}
    </div>
  );
}
