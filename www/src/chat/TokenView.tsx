/**
 * "What the model is thinking": a reply as its tokens, each with the probability it had and what else was considered.
 *
 * Pointer, tap and arrow keys all choose the same token; the card beside it is also what a screen reader is told. A press or
 * Enter holds the card, and from one of its candidates the reply can be written anew.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { canRewind, rewind } from "../state/answer";
import { headOf, type Reply } from "../state/messages";
import { share } from "../text/format";

import { EntropyRibbon } from "./EntropyRibbon";
import { TokenAlternatives, visible } from "./TokenAlternatives";
import { startWriting } from "./writing";

/** Lower bounds of the five steps of sureness. */
const STEPS = [0.1, 0.3, 0.6, 0.9] as const;

export function sureness(logprob: number): number {
  const p = Math.exp(logprob);
  return STEPS.filter((bound) => p >= bound).length;
}

function Key() {
  return (
    <div class="key" aria-hidden="true">
      {[...STEPS.keys(), STEPS.length].reverse().map((step) => (
        <span key={step}>
          <b data-sure={step} />
          {step > 0 ? `over ${((STEPS[step - 1] ?? 0) * 100).toFixed(0)} %` : "less"}
        </span>
      ))}
      <span>Point at, tap or arrow through the tokens.</span>
    </div>
  );
}

const indexOf = (target: EventTarget | null): number | null => {
  const value =
    target instanceof HTMLElement ? target.closest<HTMLElement>("[data-index]")?.dataset["index"] : undefined;
  return value === undefined ? null : Number(value);
};

export function TokenView({ reply }: { reply: Reply }) {
  const { tokens } = reply;
  const box = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const [held, setHeld] = useState(false);
  const [place, setPlace] = useState<DOMRect | null>(null);

  const choose = (index: number | null, hold = false) => {
    setAt(index);
    setHeld(hold && index !== null);
    const element = index === null ? null : box.current?.querySelector(`[data-index="${index}"]`);
    // A token may wrap over two lines: the card belongs to its first piece.
    setPlace(element?.getClientRects()[0] ?? null);
  };
  useEffect(() => {
    const leave = () => choose(null);
    document.addEventListener("scroll", leave, true);
    return () => document.removeEventListener("scroll", leave, true);
  }, []);
  const point = (index: number | null) => {
    if (!held) choose(index);
  };
  const chosen = at === null ? undefined : tokens[at];
  const release = () => {
    choose(at);
    box.current?.focus();
  };
  return (
    <>
      <Key />
      <EntropyRibbon tokens={tokens} at={at} onChoose={point} />
      <div
        ref={box}
        class="spoken"
        role="application"
        aria-roledescription="token probabilities"
        aria-label="Tokens of the answer. Use the arrow keys to move through them, Enter to choose another one."
        tabIndex={0}
        onPointerOver={(event) => event.pointerType === "mouse" && point(indexOf(event.target))}
        onPointerLeave={(event) => event.pointerType === "mouse" && point(null)}
        onClick={(event) => choose(indexOf(event.target), true)}
        onBlur={(event) => {
          const card = event.relatedTarget instanceof HTMLElement && event.relatedTarget.closest(".odds");
          if (!card) choose(null);
        }}
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
          } else if (event.key === "Enter" && at !== null) {
            event.preventDefault();
            choose(at, true);
          } else if (event.key === "Escape" && at !== null) {
            event.stopPropagation();
            choose(null);
          }
        }}
      >
        {headOf(reply)}
        {tokens.map((token, index) => (
          <b key={index} data-index={index} data-sure={sureness(token.logprob)} data-on={index === at}>
            {token.text}
          </b>
        ))}
      </div>
      <p class="unseen" aria-live="polite">
        {chosen && `${visible(chosen.text)}, ${share(Math.exp(chosen.logprob))}`}
      </p>
      {chosen && place && (
        <TokenAlternatives
          key={at}
          token={chosen}
          place={place}
          held={held}
          mayChoose={canRewind(reply)}
          onChoose={(other) => {
            rewind(reply, at ?? 0, other);
            startWriting();
          }}
          onRelease={release}
          onLeave={() => choose(null)}
        />
      )}
    </>
  );
}
