/** The card beside a token: how likely it was, and the other candidates, as bars on one scale. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { ReplyToken } from "../state/messages";
import { share } from "../text/format";

/** White space made visible, so that `" the"` and `"the"` differ. */
export function visible(text: string): string {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";
}

const GAP = 8;

export function TokenAlternatives({ token, place }: { token: ReplyToken; place: DOMRect }) {
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
  }, [place, token]);

  const chosenListed = token.top.some((other) => other.text === token.text);
  const rows = chosenListed ? token.top : [...token.top, { text: token.text, logprob: token.logprob }];
  const rest = 1 - rows.reduce((sum, row) => sum + Math.exp(row.logprob), 0);
  return (
    <div ref={card} class="odds" aria-hidden="true">
      <h3>Chosen at {share(Math.exp(token.logprob))}</h3>
      <ul class="figures">
        {rows.map((row, index) => (
          <li key={index} data-chosen={row.text === token.text}>
            <code>{visible(row.text)}</code>
            <span class="bar">
              <i style={{ width: `${(Math.exp(row.logprob) * 100).toFixed(2)}%` }} />
            </span>
            <span>{share(Math.exp(row.logprob))}</span>
          </li>
        ))}
        {rest > 0.0005 && (
          <li class="aside">
            <span>all others</span>
            <span class="bar">
              <i style={{ width: `${(rest * 100).toFixed(2)}%` }} />
            </span>
            <span>{share(rest)}</span>
          </li>
        )}
      </ul>
    </div>
  );
}
