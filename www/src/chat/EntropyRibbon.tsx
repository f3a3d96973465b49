/** Along the reply, token by token: the higher, the more open the choice was. */

import { useMemo } from "preact/hooks";
import type { ReplyToken } from "../state/messages";
import { entropy } from "./uncertainty";

interface EntropyRibbonProps {
  tokens: readonly ReplyToken[];
  at: number | null;
  onChoose: (index: number | null) => void;
}

export function EntropyRibbon({ tokens, at, onChoose }: EntropyRibbonProps) {
  const bits = useMemo(() => tokens.map(entropy), [tokens]);
  const most = Math.max(1, ...bits);
  // Steps and not a curve: each token is a choice of its own.
  const outline = bits.map((value, index) => `V${(1 - value / most).toFixed(3)}H${index + 1}`).join("");
  const indexOf = (event: PointerEvent) => {
    const { left, width } = (event.currentTarget as SVGElement).getBoundingClientRect();
    return Math.min(Math.max(Math.floor(((event.clientX - left) / width) * bits.length), 0), bits.length - 1);
  };
  return (
    <div class="ribbon" aria-hidden="true">
      <svg
        aria-hidden="true"
        viewBox={`0 0 ${bits.length} 1`}
        preserveAspectRatio="none"
        onPointerMove={(event) => onChoose(indexOf(event))}
        onPointerDown={(event) => onChoose(indexOf(event))}
        onPointerLeave={(event) => event.pointerType === "mouse" && onChoose(null)}
      >
        <rect class="ground" width={bits.length} height="1" />
        {at !== null && <rect class="here" x={at} width="1" height="1" />}
        <path d={`M0 1${outline}V1Z`} />
      </svg>
      <p class="figures">
        <span>Uncertainty, token by token</span>
        <span>{at === null ? `up to ${most.toFixed(1)} bits` : `${(bits[at] ?? 0).toFixed(1)} bits`}</span>
      </p>
    </div>
  );
}
