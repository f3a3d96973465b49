/**
 * The card beside a token: how likely it was, and the other candidates, as bars on one scale. While it is held, each
 * candidate is a button from which the reply goes on.
 */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { Candidate, ReplyToken } from "../state/messages";
import { share } from "../text/format";

/** White space made visible, so that `" the"` and `"the"` differ. */
export function visible(text: string): string {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";
}

const GAP = 8;

interface TokenAlternativesProps {
  token: ReplyToken;
  place: DOMRect;
  held: boolean;
  /** Whether the reply can be written anew from here. */
  mayChoose: boolean;
  onChoose: (other: Candidate & { id: number }) => void;
  onRelease: () => void;
  onLeave: () => void;
}

/** A candidate whose token is known and is text: others cannot be gone on with. */
function isChoice(row: Candidate, token: ReplyToken): row is Candidate & { id: number } {
  return row.id !== undefined && row.text !== token.text && row.text !== "";
}

function Row({ row, chosen }: { row: Candidate; chosen: boolean }) {
  return (
    <span class="row" data-chosen={chosen}>
      <code>{visible(row.text)}</code>
      <span class="bar">
        <i style={{ width: `${(Math.exp(row.logprob) * 100).toFixed(2)}%` }} />
      </span>
      <span>{share(Math.exp(row.logprob))}</span>
    </span>
  );
}

export function TokenAlternatives(props: TokenAlternativesProps) {
  const { token, place, held, mayChoose, onChoose, onRelease, onLeave } = props;
  const card = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = card.current;
    if (!element) return;
    const { width, height } = element.getBoundingClientRect();
    const left = Math.min(Math.max(GAP, place.left - 12), window.innerWidth - width - GAP);
    const below = place.bottom + GAP;
    const top = below + height > window.innerHeight - GAP ? place.top - height - GAP : below;
    element.style.left = `${left}px`;
    element.style.top = `${Math.max(GAP, top)}px`;
  }, [place, token, held]);
  useLayoutEffect(() => {
    if (held) card.current?.querySelector("button")?.focus();
  }, [held]);

  const chosenListed = token.top.some((other) => other.text === token.text);
  const rows: Candidate[] = chosenListed
    ? token.top
    : [...token.top, { text: token.text, logprob: token.logprob }];
  const rest = 1 - rows.reduce((sum, row) => sum + Math.exp(row.logprob), 0);
  const offers = held && mayChoose;
  return (
    <section
      ref={card}
      class="odds"
      aria-label={`Candidates in place of “${visible(token.text)}”`}
      aria-hidden={!held}
      data-held={held}
      onFocusOut={(event) => {
        const next = event.relatedTarget as HTMLElement | null;
        const stays = card.current?.contains(next) || next?.closest(".spoken");
        if (held && !stays) onLeave();
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") {
          event.stopPropagation();
          onRelease();
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
          event.preventDefault();
          const all = [...(card.current?.querySelectorAll("button") ?? [])];
          const now = all.indexOf(document.activeElement as HTMLButtonElement);
          all[(now + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]?.focus();
        }
      }}
    >
      <h3>
        Chosen at {share(Math.exp(token.logprob))}
        {mayChoose && (held ? "; go on with another" : "; press to choose another")}
      </h3>
      <ul class="figures">
        {rows.map((row, index) => {
          const shown = <Row row={row} chosen={row.text === token.text} />;
          return (
            <li key={index}>
              {offers && isChoice(row, token) ? (
                <button
                  type="button"
                  aria-label={`Go on with “${visible(row.text)}”, ${share(Math.exp(row.logprob))}`}
                  onClick={() => onChoose(row)}
                >
                  {shown}
                </button>
              ) : (
                shown
              )}
            </li>
          );
        })}
        {rest > 0.0005 && (
          <li class="aside">
            <span class="row">
              <span>all others</span>
              <span class="bar">
                <i style={{ width: `${(rest * 100).toFixed(2)}%` }} />
              </span>
              <span>{share(rest)}</span>
            </span>
          </li>
        )}
      </ul>
    </section>
  );
}
