/** One turn: a question that can be edited, or an answer with its tools. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { askAgain, busy, live, regenerate, turnVersion } from "../state/answer";
import type { Reply, ReplyFigures } from "../state/chats";
import { speed } from "../text/format";
import { Markdown } from "../text/markdown";
import { CopyButton } from "../ui/CopyButton";
import { Glyph } from "../ui/icons";
import { Trouble } from "../ui/Trouble";
import { Spoken } from "./Spoken";

export function Asked({ text, index }: { text: string; index: number }) {
  const [editing, setEditing] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const close = () => {
    setEditing(false);
    queueMicrotask(() => opener.current?.focus());
  };
  if (editing) return <EditQuestion text={text} index={index} onClose={close} />;
  return (
    <li class="turn asked">
      <span class="unseen">You asked:</span>
      <p class="words">{text}</p>
      <div class="tools">
        <CopyButton text={text} label="Copy question" />
        <button
          ref={opener}
          type="button"
          class="icon small"
          title="Edit and ask again"
          aria-label="Edit and ask again"
          disabled={busy.value}
          onClick={() => setEditing(true)}
        >
          <Glyph name="pen" />
        </button>
      </div>
    </li>
  );
}

function EditQuestion({ text, index, onClose }: { text: string; index: number; onClose: () => void }) {
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, [text]);
  const submit = () => {
    const changed = area.current?.value ?? "";
    if (!changed.trim()) return;
    onClose();
    askAgain(index, changed);
  };
  return (
    <li class="turn asked editing">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <textarea
          ref={area}
          aria-label="Edit the question"
          defaultValue={text}
          rows={Math.min(8, text.split("\n").length + 1)}
          onKeyDown={(event) => {
            if (event.key === "Escape") {
              event.stopPropagation();
              onClose();
            } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              submit();
            }
          }}
        />
        <div>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button main">
            Ask again
          </button>
        </div>
      </form>
    </li>
  );
}

interface AnsweredProps {
  reply: Reply;
  index: number;
  /** Only the last answer can be asked for again; elsewhere that would drop what followed. */
  last: boolean;
  versions: number;
  shown: number;
}

export function Answered({ reply, index, last, versions, shown }: AnsweredProps) {
  const [odds, setOdds] = useState(false);
  const hasOdds = reply.tokens.length > 0;
  return (
    <li class="turn answered">
      <span class="unseen">{reply.model || "The model"} answered:</span>
      {odds && hasOdds ? <Spoken tokens={reply.tokens} /> : reply.text && <Markdown text={reply.text} />}
      {reply.trouble && (
        <Trouble
          code={reply.trouble.code}
          message={reply.trouble.message}
          onRetry={last ? () => regenerate(index) : undefined}
        />
      )}
      <div class="tools">
        {versions > 1 && (
          <span class="which">
            <button
              type="button"
              class="icon small"
              aria-label="Earlier version"
              disabled={shown === 0}
              onClick={() => turnVersion(index, -1)}
            >
              <Glyph name="left" />
            </button>
            <span class="figures" aria-live="polite">
              <span class="unseen">Version </span>
              {shown + 1} / {versions}
            </span>
            <button
              type="button"
              class="icon small"
              aria-label="Later version"
              disabled={shown === versions - 1}
              onClick={() => turnVersion(index, 1)}
            >
              <Glyph name="right" />
            </button>
          </span>
        )}
        {reply.text && <CopyButton text={reply.text} label="Copy answer" />}
        {last && (
          <button
            type="button"
            class="icon small"
            title="Answer again"
            aria-label="Answer again"
            disabled={busy.value}
            onClick={() => regenerate(index)}
          >
            <Glyph name="again" />
          </button>
        )}
        {hasOdds && (
          <button
            type="button"
            class="icon small"
            title="What the model was thinking"
            aria-label="Show token probabilities"
            aria-pressed={odds}
            onClick={() => setOdds(!odds)}
          >
            <Glyph name="odds" />
          </button>
        )}
        {reply.figures && <Figures figures={reply.figures} />}
      </div>
    </li>
  );
}

const ENDINGS: Record<string, string> = {
  length: "stopped at the length limit",
  "context-full": "the context is full",
  cancelled: "stopped",
};

function Figures({ figures }: { figures: ReplyFigures }) {
  const ending = ENDINGS[figures.finish];
  return (
    <span class="figure figures">
      {figures.tokens} tokens, {speed(figures.decodeTokensPerSecond)} tok/s{ending ? `, ${ending}` : ""}
    </span>
  );
}

/** The only part of the page that is drawn anew with every token. */
export function Answering() {
  const now = live.value;
  if (!now) return null;
  const { phase, read, reply } = now;
  const said =
    phase === "waiting"
      ? "Waiting for the model"
      : phase === "reading"
        ? read.total > 64
          ? `Reading ${read.done} of ${read.total} tokens`
          : "Reading"
        : "";
  return (
    <li class="turn answered" aria-busy="true">
      <span class="unseen">Answer in progress:</span>
      {reply.text && <Markdown text={reply.text} />}
      <p class="cursor aside figures">
        <span class="trits" aria-hidden="true">
          <i />
          <i />
          <i />
        </span>{" "}
        {said}
      </p>
    </li>
  );
}
