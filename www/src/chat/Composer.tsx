/** Where a question is written. Enter sends, Shift+Enter breaks the line, Escape stops the answer. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { OFFERS } from "../model/catalogue";
import { memory, model } from "../model/loading";
import { touch } from "../offline/install";
import { ask, busy, live, stop } from "../state/answer";
import { attach, takeAttached } from "../state/attachments";
import { path } from "../state/chats";
import { bytes, speed } from "../text/format";
import { Glyph } from "../ui/icons";
import { notify } from "../ui/Notice";
import { keysOpen } from "../ui/route";
import { Attachments } from "./Attachments";
import { editLast } from "./editing";
import { COMPOSER } from "./writing";

/** What is being written, kept across views. */
export const draft = signal("");

/** Attaches files, and says which of them cannot be. */
export async function attachOrSay(files: readonly File[]): Promise<void> {
  const refusals = await attach(files);
  if (refusals.length > 0) notify(`${refusals.join(". ")}.`);
}

function Meters() {
  const now = live.value;
  const used = memory.value;
  const context = model.value.info?.context;
  const last = path.value.at(-1)?.message;
  const figures = now || last?.role !== "assistant" ? undefined : last.figures;
  const seen = figures ? figures.promptTokens + figures.tokens : 0;
  const ability = OFFERS.find(({ source }) => source === model.value.source)?.ability;
  return (
    <p class="meters figures">
      {!now && seen === 0 && ability && (
        <span>
          {model.value.name}: {ability}
        </span>
      )}
      {now && now.speed > 0 && <span>{speed(now.speed)} tok/s</span>}
      {now && now.count > 0 && <span>{now.count} tokens</span>}
      {seen > 0 && context && (
        <span>
          {Math.min(seen, context).toLocaleString("en")} of {context.toLocaleString("en")} tokens of context
        </span>
      )}
      {used !== null && <span>{bytes(used)} in memory</span>}
      {!now && used === null && !ability && <span>Nothing you write leaves this tab.</span>}
    </p>
  );
}

export function Composer() {
  const area = useRef<HTMLTextAreaElement>(null);
  const text = draft.value;

  // Browsers without `field-sizing` grow the box by hand.
  useEffect(() => {
    const element = area.current;
    if (!element || CSS.supports("field-sizing", "content")) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  const send = () => {
    if (busy.value || !text.trim()) return;
    ask(text, takeAttached());
    draft.value = "";
  };
  // The button goes away: the focus goes on to where one writes.
  const halt = () => {
    stop();
    area.current?.focus();
  };
  return (
    <div class="composer column">
      <Attachments />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <textarea
          ref={area}
          id={COMPOSER}
          dir="auto"
          aria-label="Message"
          placeholder={`Ask ${model.value.name || "the model"}`}
          rows={1}
          value={text}
          onInput={(event) => {
            draft.value = event.currentTarget.value;
            touch();
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              send();
            } else if (event.key === "ArrowUp" && !event.currentTarget.value && !busy.value && editLast())
              event.preventDefault();
          }}
        />
        <label class="icon attach" title="Attach texts">
          <Glyph name="clip" />
          <span class="unseen">Attach texts</span>
          <input
            type="file"
            class="unseen"
            multiple
            onChange={(event) => {
              const files = [...(event.currentTarget.files ?? [])];
              event.currentTarget.value = "";
              void attachOrSay(files);
              area.current?.focus();
            }}
          />
        </label>
        {busy.value ? (
          <button type="button" class="icon send halt" aria-label="Stop" title="Stop (Esc)" onClick={halt}>
            <Glyph name="stop" />
          </button>
        ) : (
          <button
            type="submit"
            class="icon send"
            aria-label="Send"
            title="Send (Enter)"
            disabled={!text.trim()}
          >
            <Glyph name="send" />
          </button>
        )}
      </form>
      <div class="under">
        <Meters />
        <p class="keys">
          <kbd>Enter</kbd> sends, <kbd>Shift Enter</kbd> breaks the line,{" "}
          <button type="button" onClick={() => (keysOpen.value = true)}>
            <kbd>?</kbd> lists keys
          </button>
        </p>
      </div>
    </div>
  );
}
