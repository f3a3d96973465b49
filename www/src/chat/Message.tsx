/** One turn: a question that can be edited, or an answer with its tools. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { askAgain, busy, continueReply, live, regenerate } from "../state/answer";
import { showVersion } from "../state/chats";
import type { ChatMessage, Question, Reply, ReplyFigures } from "../state/messages";
import { watchReply } from "../state/sync";
import { speed } from "../text/format";
import { Markdown } from "../text/markdown";
import { CopyButton } from "../ui/CopyButton";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Glyph } from "../ui/icons";
import { startWriting } from "./Composer";
import { editing } from "./editing";
import { TokenView } from "./TokenView";

interface Versioned {
  /** All versions of this message, oldest first, and which of them it is. */
  versions: readonly ChatMessage[];
  at: number;
}

/** ‹ 1 / 2 ›, where a message has other versions. */
function Versions({ versions, at }: Versioned) {
  if (versions.length < 2) return null;
  const step = (by: number, label: string, glyph: "left" | "right") => {
    const other = versions[at + by];
    return (
      <button
        type="button"
        class="icon small"
        aria-label={label}
        // Still focusable at the end of the row, so that the focus is not lost there.
        aria-disabled={!other}
        onClick={() => other && showVersion(other)}
      >
        <Glyph name={glyph} />
      </button>
    );
  };
  return (
    <span class="which">
      {step(-1, "Earlier version", "left")}
      <span class="figures" aria-live="polite">
        <span class="unseen">Version </span>
        {at + 1} / {versions.length}
      </span>
      {step(1, "Later version", "right")}
    </span>
  );
}

export function Asked({ question, versions, at }: { question: Question } & Versioned) {
  const { text } = question;
  const opener = useRef<HTMLButtonElement>(null);
  const close = () => {
    editing.value = null;
    // Where the question was asked again this cannot take the focus, which is in the message box by then.
    queueMicrotask(() => opener.current?.focus());
  };
  if (editing.value === question.id) return <EditQuestion question={question} onClose={close} />;
  return (
    <li class="turn asked">
      <span class="unseen">You asked:</span>
      <p class="words" dir="auto">
        {text}
      </p>
      <div class="tools">
        <Versions versions={versions} at={at} />
        <CopyButton text={text} label="Copy question" />
        <button
          ref={opener}
          type="button"
          class="icon small"
          title="Edit and ask again"
          aria-label="Edit and ask again"
          disabled={busy.value}
          onClick={() => (editing.value = question.id)}
        >
          <Glyph name="pen" />
        </button>
      </div>
    </li>
  );
}

function EditQuestion({ question, onClose }: { question: Question; onClose: () => void }) {
  const { text } = question;
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, [text]);
  const submit = () => {
    const changed = area.current?.value ?? "";
    if (!changed.trim()) return;
    onClose();
    askAgain(question, changed);
    startWriting();
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
          dir="auto"
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

/** Whether another tab is writing this reply; null until that is known. */
function useWrittenElsewhere({ id, unfinished = false }: Reply): boolean | null {
  const [written, setWritten] = useState<boolean | null>(null);
  useEffect(() => {
    const left = new AbortController();
    setWritten(null);
    if (unfinished) void watchReply(id, setWritten, left.signal);
    return () => left.abort();
  }, [id, unfinished]);
  return written;
}

interface AnsweredProps extends Versioned {
  reply: Reply;
  /** Only the last answer offers to be written again; an earlier one would lead away from what followed it. */
  last: boolean;
}

export function Answered({ reply, versions, at, last }: AnsweredProps) {
  const [odds, setOdds] = useState(false);
  const elsewhere = useWrittenElsewhere(reply);
  const hasOdds = reply.tokens.length > 0;
  return (
    <li class="turn answered">
      <span class="unseen">{reply.model || "The model"} answered:</span>
      {odds && hasOdds ? <TokenView tokens={reply.tokens} /> : reply.text && <Markdown text={reply.text} />}
      {reply.trouble && (
        <ErrorNotice
          code={reply.trouble.code}
          message={reply.trouble.message}
          onRetry={last ? () => again(reply) : undefined}
        />
      )}
      {elsewhere !== null && (
        <p class="aside">
          {elsewhere ? "Being written in another tab" : "Cut off: the page was closed while this was written"}
        </p>
      )}
      <AnswerTools
        reply={reply}
        versions={versions}
        at={at}
        last={last}
        partial={isPartial(reply, elsewhere)}
        odds={odds}
        onOdds={() => setOdds(!odds)}
      />
    </li>
  );
}

interface AnswerToolsProps extends AnsweredProps {
  partial: boolean;
  /** Whether the probabilities are shown. */
  odds: boolean;
  onOdds: () => void;
}

function AnswerTools({ reply, versions, at, last, partial, odds, onOdds }: AnswerToolsProps) {
  return (
    <div class="tools">
      <Versions versions={versions} at={at} />
      {reply.text && <CopyButton text={reply.text} label="Copy answer" />}
      {last && partial && (
        <button type="button" class="button small" disabled={busy.value} onClick={() => goOn(reply)}>
          Continue
        </button>
      )}
      {last && (
        <button
          type="button"
          class="icon small"
          title="Answer again"
          aria-label="Answer again"
          disabled={busy.value}
          onClick={() => again(reply)}
        >
          <Glyph name="again" />
        </button>
      )}
      {reply.tokens.length > 0 && (
        <button
          type="button"
          class="icon small"
          title="What the model was thinking"
          aria-label="Show token probabilities"
          aria-pressed={odds}
          onClick={onOdds}
        >
          <Glyph name="odds" />
        </button>
      )}
      {reply.figures && <Figures figures={reply.figures} />}
    </div>
  );
}

/** Whether an answer ended before its end, so that there is something to go on with. */
function isPartial({ text, trouble, figures }: Reply, elsewhere: boolean | null): boolean {
  if (!text || elsewhere) return false;
  return elsewhere === false || trouble !== undefined || (figures?.finish ?? "stop") in ENDINGS;
}

// These buttons go away when they are pressed: the focus goes on to where one writes.

function again(reply: Reply): void {
  regenerate(reply);
  startWriting();
}

function goOn(reply: Reply): void {
  continueReply(reply);
  startWriting();
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
    <li class={phase === "writing" ? "turn answered writing" : "turn answered"} aria-busy="true">
      <span class="unseen">Answer in progress:</span>
      {reply.text && <Markdown text={reply.text} />}
      {said && (
        <p class="cursor aside figures">
          <span class="trits" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>{" "}
          {said}
        </p>
      )}
    </li>
  );
}
