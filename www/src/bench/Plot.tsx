/** Speed over context length: one line, from zero, in the page's own colours. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useWidth } from "../ui/useWidth";
import type { Reading } from "./measure";

function colour(name: string): string {
  // A canvas knows no custom properties, so the browser is asked what they are.
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

export function Plot({ readings, dark }: { readings: Reading[]; dark: string }) {
  const [place, width] = useWidth<HTMLDivElement>();
  const chart = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = place.current;
    if (!element || width === 0) return;
    const text = colour("--faint");
    const axis = {
      stroke: text,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: "13px 'Hanken Grotesk Variable', sans-serif",
      labelFont: "13px 'Hanken Grotesk Variable', sans-serif",
    };
    const line = colour("--minus");
    const made = new uPlot(
      {
        width,
        height: 260,
        cursor: { y: false },
        legend: { live: false, show: false },
        scales: {
          x: { time: false, range: (_u, _min, max) => [0, max] },
          y: { range: (_u, _min, max) => [0, (max || 1) * 1.12] },
        },
        axes: [
          { ...axis, label: "tokens of context", labelSize: 22, size: 28 },
          { ...axis, label: "tokens per second", labelSize: 22, size: 48 },
        ],
        series: [
          { label: "context" },
          { label: "tok/s", stroke: line, width: 2, points: { show: true, size: 7, fill: line } },
        ],
      },
      [
        readings.map(({ context }) => context),
        readings.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond),
      ],
      element,
    );
    chart.current = made;
    return () => made.destroy();
  }, [width, readings, dark]);
  const words = readings
    .map(({ context, decodeTokensPerSecond }) => `${decodeTokensPerSecond.toFixed(1)} at ${context}`)
    .join(", ");
  return (
    <div
      ref={place}
      class="plot"
      role="img"
      aria-label={`Generated tokens per second by tokens of context: ${words}.`}
    />
  );
}
