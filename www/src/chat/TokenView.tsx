/**
 * "What the model is thinking": a reply as its tokens, each with the probability it had and what else was considered.
 *
 * Pointer, tap and arrow keys all choose the same token; the card beside it is also what a screen reader is told.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ReplyToken } from "../state/messages";
import { share } from "../text/format";
import { TokenAlternatives, visible } from "./TokenAlternatives";

/** Lower bounds of the five steps of sureness. */
const STEPS = [0.1, 0.3, 0.6, 0.9] as const;

export function sureness(logprob: number): number {
  const p = Math.exp(logprob);
  return STEPS.filter((bound) => p >= bound).length;
}

export function TokenView({ tokens }: { tokens: ReplyToken[] }) {
  const box = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const [place, setPlace] = useState<DOMRect | null>(null);

  const choose = (index: number | null) => {
    setAt(index);
    const element = index === null ? null : box.current?.querySelector(`[data-index="${index}"]`);
    // A token may wrap over two lines: the card belongs to its first piece.
    setPlace(element?.getClientRects()[0] ?? null);
  };
  const indexOf = (target: EventTarget | null): number | null => {
    const value =
      target instanceof HTMLElement
        ? target.closest<HTMLElement>("[data-index]")?.dataset["index"]
        : undefined;
    return value === undefined ? null : Number(value);
  };
  useEffect(() => {
    const leave = () => choose(null);
    document.addEventListener("scroll", leave, true);
    return () => document.removeEventListener("scroll", leave, true);
  }, []);
  const chosen = at === null ? undefined : tokens[at];
  return (
    <>
      <div class="key" aria-hidden="true">
        {[...STEPS.keys(), STEPS.length].reverse().map((step) => (
          <span key={step}>
            <b data-sure={step} />
            {step > 0 ? `over ${((STEPS[step - 1] ?? 0) * 100).toFixed(0)} %` : "less"}
          </span>
        ))}
        <span>Point at, tap or arrow through the tokens.</span>
      </div>
      <div
        ref={box}
        class="spoken"
        role="application"
        aria-roledescription="token probabilities"
        aria-label="Tokens of the answer. Use the arrow keys to move through them."
        tabIndex={0}
        onPointerOver={(event) => event.pointerType === "mouse" && choose(indexOf(event.target))}
        onPointerLeave={(event) => event.pointerType === "mouse" && choose(null)}
        onClick={(event) => choose(indexOf(event.target))}
        onBlur={() => choose(null)}
        onKeyDown={(event) => {
          const step =
            event.key === "ArrowRight" || event.key === "ArrowDown"
              ? 1
              : event.key === "ArrowLeft" || event.key === "ArrowUp"
                ? -1
                : 0;
          if (step !== 0) {
            event.preventDefault();
            choose(at === null ? 0 : Math.min(Math.max(at + step, 0), tokens.length - 1));
          } else if (event.key === "Escape" && at !== null) {
            event.stopPropagation();
            choose(null);
          }
        }}
      >
        {tokens.map((token, index) => (
          <b key={index} data-index={index} data-sure={sureness(token.logprob)} data-on={index === at}>
            {token.text}
          </b>
        ))}
      </div>
      <p class="unseen" aria-live="polite">
        {chosen && `${visible(chosen.text)}, ${share(Math.exp(chosen.logprob))}`}
      </p>
      {chosen && place && <TokenAlternatives token={chosen} place={place} />}
    </>
  );
}
