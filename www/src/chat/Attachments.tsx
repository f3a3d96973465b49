/** Chips of what goes, or went, with a question. */

import { useEffect } from "preact/hooks";
import { model } from "../model/loading";
import { type Attached, attached, count, detach, room, tokensOf } from "../state/attachments";
import type { Question } from "../state/messages";
import { Glyph } from "../ui/icons";
import { startWriting } from "./writing";

function Fit({ one, before }: { one: Attached; before: number }) {
  const tokens = tokensOf(one);
  const fits = before + tokens <= room.value;
  return (
    <span class="figures" data-fits={fits}>
      {one.tokens === null ? "about " : ""}
      {tokens.toLocaleString("en")} tokens, {fits ? "fits" : "the passages that matter are picked"}
    </span>
  );
}

/** What will go with the next question. */
export function Attachments() {
  const all = attached.value;
  const { state } = model.value;
  useEffect(() => {
    if (state === "ready") void count();
  }, [state]);
  if (all.length === 0) return null;
  let before = 0;
  return (
    <ul class="chips" aria-label="Attachments">
      {all.map((one) => {
        const so = before;
        before += tokensOf(one);
        return (
          <li key={one.name} class="chip">
            <Glyph name="file" />
            <span>
              <bdi>{one.name}</bdi>
              <Fit one={one} before={so} />
            </span>
            <button
              type="button"
              class="icon small"
              aria-label={`Remove ${one.name}`}
              onClick={() => {
                detach(one.name);
                startWriting();
              }}
            >
              <Glyph name="close" />
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** What went with a question, and which passages of it the model was given. */
export function Attachment({ question: { attachments = [], sources = [], partly } }: { question: Question }) {
  if (attachments.length === 0 && sources.length === 0) return null;
  const names = [...new Set([...attachments.map(({ name }) => name), ...sources.map(({ name }) => name)])];
  return (
    <ul class="chips given" aria-label="What the model was given with it">
      {names.map((name) => {
        const lines = sources
          .filter((source) => source.name === name)
          .map(({ from, to }) => (from === to ? String(from) : `${from}–${to}`));
        return (
          <li key={name} class="chip">
            <Glyph name="file" />
            <span>
              <bdi>{name}</bdi>
              {partly && (
                <span class="figures">{lines.length > 0 ? `lines ${lines.join(", ")}` : "no passage"}</span>
              )}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
