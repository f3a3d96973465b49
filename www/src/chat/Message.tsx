/** One turn: a question that can be edited, or an answer with its tools. */

import { lazy, Suspense } from "preact/compat";
import { useEffect, useRef, useState } from "preact/hooks";
import { askAgain, busy, continueReply, live, regenerate, rewrite } from "../state/answer";
import { showVersion } from "../state/chats";
import type { ChatMessage, Question, Reply } from "../state/messages";
import { watchReply } from "../state/sync";
import { speed } from "../text/format";
import { answerOf } from "../text/thinking";
import { CopyButton } from "../ui/CopyButton";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Glyph } from "../ui/icons";
import { Attachment } from "./Attachments";
import { EditBox } from "./EditBox";
import { editing } from "./editing";
import { ReplyText } from "./ReplyText";
import { TokenView } from "./TokenView";
import { startWriting } from "./writing";

// Few models have anything to show there.
const Inner = lazy(() => import("./Inner").then((part) => part.Inner));

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
    <li class="turn asked" data-message={question.id}>
      <span class="unseen">You asked:</span>
      <p class="words" dir="auto">
        {text}
      </p>
      <Attachment question={question} />
      <div class="tools">
        <Versions versions={versions} at={at} />
        <CopyButton text={text} label="Copy question" />
        <button
          ref={opener}
          type="button"
          class="icon small"
          title="Edit and ask again"
          aria-label="Edit and ask again"
          disabled={busy}
          onClick={() => (editing.value = question.id)}
        >
          <Glyph name="pen" />
        </button>
      </div>
    </li>
  );
}

function EditQuestion({ question, onClose }: { question: Question; onClose: () => void }) {
  return (
    <li class="turn asked editing">
      <EditBox
        text={question.text}
        label="Edit the question"
        done="Ask again"
        enter
        onClose={onClose}
        onDone={(text) => {
          onClose();
          askAgain(question, text);
          startWriting();
        }}
      />
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
  if (editing.value === reply.id) return <EditReply reply={reply} />;
  return (
    <li class="turn answered" data-message={reply.id}>
      <span class="unseen">{reply.model || "The model"} answered:</span>
      {odds && hasOdds ? (
        <TokenView reply={reply} />
      ) : (
        <ReplyText text={reply.text} thinking={reply.thinking} />
      )}
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

function EditReply({ reply }: { reply: Reply }) {
  const close = () => {
    editing.value = null;
    queueMicrotask(() =>
      document.querySelector<HTMLElement>(`[data-edit="${CSS.escape(reply.id)}"]`)?.focus(),
    );
  };
  return (
    <li class="turn answered editing">
      <EditBox
        text={reply.text}
        label="Edit the answer"
        done="Keep as another version"
        enter={false}
        onClose={close}
        onDone={(text) => {
          close();
          if (text === reply.text) return;
          rewrite(reply, text);
          startWriting();
        }}
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
      {reply.text && <CopyButton text={answerOf(reply.text) || reply.text} label="Copy answer" />}
      {last && partial && (
        <button type="button" class="button small" disabled={busy} onClick={() => goOn(reply)}>
          Continue
        </button>
      )}
      {last && (
        <button
          type="button"
          class="icon small"
          title="Answer again"
          aria-label="Answer again"
          disabled={busy}
          onClick={() => again(reply)}
        >
          <Glyph name="again" />
        </button>
      )}
      {reply.text && !reply.unfinished && (
        <button
          type="button"
          class="icon small"
          title="Edit the answer"
          aria-label="Edit the answer"
          data-edit={reply.id}
          disabled={busy}
          onClick={() => (editing.value = reply.id)}
        >
          <Glyph name="pen" />
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
      <Figures reply={reply} />
    </div>
  );
}

/** Whether an answer ended before its end, so that there is something to go on with. */
function isPartial({ text, trouble, figures, edited }: Reply, elsewhere: boolean | null): boolean {
  if (!text || elsewhere) return false;
  return (
    (edited && !figures) ||
    elsewhere === false ||
    trouble !== undefined ||
    (figures?.finish ?? "stop") in ENDINGS
  );
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

/** Who answered, and how fast. */
function Figures({ reply: { model, edited = false, figures } }: { reply: Reply }) {
  const ending = figures && ENDINGS[figures.finish];
  return (
    <span class="figure figures">
      {model && <bdi class="by">{model}</bdi>}
      {edited && <span>edited by you</span>}
      {figures && (
        <span>
          {figures.tokens} tokens, {speed(figures.decodeTokensPerSecond)} tok/s{ending ? `, ${ending}` : ""}
        </span>
      )}
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
      <ReplyText text={reply.text} thinking={reply.thinking} />
      {now.inside && (
        <Suspense fallback={null}>
          <Inner inside={now.inside} />
        </Suspense>
      )}
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
