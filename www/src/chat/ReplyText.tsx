/** The words of a reply: what the model thought aloud, folded, and what it answered. */

import { useMemo } from "preact/hooks";
import type { Reply } from "../state/messages";
import { duration } from "../text/format";
import { Markdown } from "../text/markdown";
import { splitThought } from "../text/thinking";

type Thinking = NonNullable<Reply["thinking"]>;

function inWords({ tokens, ms }: Thinking): string {
  return `${tokens.toLocaleString("en")} ${tokens === 1 ? "token" : "tokens"}, ${duration(ms / 1000)}`;
}

export function ReplyText({ text, thinking }: { text: string; thinking: Thinking | undefined }) {
  const { thought, open, answer } = useMemo(() => splitThought(text), [text]);
  return (
    <>
      {thought !== null && (thought !== "" || open) && (
        <details class="thought">
          <summary>
            {open ? "Thinking" : "Thought"}
            {thinking && <span class="figures">{inWords(thinking)}</span>}
          </summary>
          <Markdown text={thought} />
        </details>
      )}
      {answer && <Markdown text={answer} />}
    </>
  );
}
