/** The stage of a chat: its turns, the one being written, what stands in the way, and the composer. */

import { memo } from "preact/compat";
import { useEffect, useRef, useState } from "preact/hooks";
import { LoadStrip } from "../model/LoadStrip";
import { model, retryLoad, withdraw } from "../model/loading";
import { busy, dropped, live, resume, writingReply } from "../state/answer";
import { chat, path, sought } from "../state/chats";
import { type ChatMessage, firstSeen, type Step } from "../state/messages";
import { Glyph } from "../ui/icons";
import { Composer } from "./Composer";
import { EmptyChat } from "./EmptyChat";
import { Answered, Answering, Asked } from "./Message";
import { useSlices } from "./slices";
import { startWriting } from "./writing";

/** How near to the end counts as being there, in pixels. */
const NEAR = 60;

/** Keeps the end of a growing reply in view, unless the reader scrolled up; `away` says that they did. */
function useFollow(key: string | undefined, filling: boolean) {
  const box = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const pinned = useRef(true);
  // Turns are still added above: the end stays in view.
  const rising = useRef(filling);
  rising.current = filling;
  const toEnd = () => {
    pinned.current = true;
    setAway(false);
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  };
  const writing = writingReply.value;
  // A conversation opens at its end, and whoever asks wants to see the answer.
  useEffect(toEnd, [key]);
  useEffect(() => {
    if (writing !== null) toEnd();
  }, [writing]);
  // What was searched for, once it is on the stage.
  const goal = sought.value;
  useEffect(() => {
    const found = goal && box.current?.querySelector(`[data-message="${CSS.escape(goal)}"]`);
    if (!found) return;
    sought.value = null;
    pinned.current = false;
    found.scrollIntoView({ block: "center" });
    found.classList.add("found");
    setTimeout(() => found.classList.remove("found"), 2500);
  }, [goal, path.value]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    let last = element.scrollTop;
    const watch = () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      // The end may have moved on since the page itself scrolled there: only a person scrolls up.
      if (scrollHeight - scrollTop - clientHeight < NEAR) pinned.current = true;
      else if (scrollTop < last) pinned.current = false;
      last = scrollTop;
      setAway(!pinned.current);
    };
    // The last growth comes just after the reply ended, when its tools appear.
    let growing = false;
    const follow = new ResizeObserver(() => {
      if (pinned.current && (growing || rising.current || live.value))
        element.scrollTop = element.scrollHeight;
      growing = live.value !== null || rising.current;
    });
    element.addEventListener("scroll", watch, { passive: true });
    const inner = element.firstElementChild;
    if (inner) follow.observe(inner);
    return () => {
      element.removeEventListener("scroll", watch);
      follow.disconnect();
    };
  }, [key]);
  return { box, away, toEnd };
}

/** Where the part of a conversation begins that the model saw when it last answered, or sees while it answers. */
function horizon(messages: ChatMessage[]): string | null {
  const last = messages.findLast((message) => message.role === "assistant");
  if (last?.role !== "assistant") return null;
  const now = last.id === writingReply.value ? dropped.value : (last.figures?.droppedMessages ?? 0);
  return firstSeen(messages, now);
}

interface TurnProps {
  step: Step;
  last: boolean;
  /** It is the one that is being written. */
  writing: boolean;
}

/** Drawn again only when its own message or its place among the versions changed: a long conversation has many of them. */
const Turn = memo(
  ({ step: { message, versions, at }, last, writing }: TurnProps) => {
    if (writing) return <Answering />;
    if (message.role === "user") return <Asked question={message} versions={versions} at={at} />;
    return <Answered reply={message} versions={versions} at={at} last={last} />;
  },
  (before, after) =>
    before.step.message === after.step.message &&
    before.step.at === after.step.at &&
    before.step.versions.length === after.step.versions.length &&
    before.last === after.last &&
    before.writing === after.writing,
);

export function Conversation() {
  const one = chat.value;
  const steps = path.value;
  const seenFrom = horizon(steps.map(({ message }) => message));
  const hidden = steps.length - useSlices(steps.length, one?.id, sought.value !== null);
  const { box, away, toEnd } = useFollow(one?.id, hidden > 0);
  // The button that asked for it goes away: the focus goes on to where one writes.
  const answerNow = () => {
    if (unanswered) resume();
    startWriting();
  };
  const unanswered = steps.at(-1)?.message.role === "user" && !busy.value;
  return (
    <>
      <div class="scroll" ref={box} tabIndex={-1} id="content">
        {one ? (
          <ol key={one.id} class="turns column" aria-label="Conversation">
            {steps.slice(hidden).flatMap((step, offset) => {
              const { message } = step;
              const index = hidden + offset;
              const rule = message.id === seenFrom && (
                <li key="horizon" class="horizon">
                  The model no longer sees what is above
                </li>
              );
              // By place and not by message, so that the focus stays where a version is chosen.
              return [
                rule,
                <Turn
                  key={index}
                  step={step}
                  last={index === steps.length - 1}
                  writing={message.id === writingReply.value}
                />,
              ];
            })}
            {unanswered && model.value.state !== "failed" && (
              <li class="turn answered">
                <button type="button" class="button" onClick={answerNow}>
                  Answer this
                </button>
              </li>
            )}
          </ol>
        ) : (
          <EmptyChat />
        )}
      </div>
      <div class="column foot">
        {one && away && (
          <button
            type="button"
            class="icon latest"
            aria-label="Jump to the latest"
            title="Jump to the latest"
            onClick={toEnd}
          >
            <Glyph name="end" />
          </button>
        )}
        <LoadStrip
          onRetry={() => {
            retryLoad();
            answerNow();
          }}
          onBack={() => {
            withdraw();
            answerNow();
          }}
          onCancel={() => {
            withdraw();
            startWriting();
          }}
        />
      </div>
      <Composer />
    </>
  );
}
