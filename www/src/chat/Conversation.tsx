/** The stage of a chat: its turns, the one being written, what stands in the way, and the composer. */

import { useEffect, useRef, useState } from "preact/hooks";
import { LoadStrip } from "../model/LoadStrip";
import { model, retryLoad, withdraw } from "../model/loading";
import { busy, dropped, live, resume, writingReply } from "../state/answer";
import { chat, path } from "../state/chats";
import { type ChatMessage, firstSeen, type Step } from "../state/messages";
import { Glyph } from "../ui/icons";
import { Composer, startWriting } from "./Composer";
import { EmptyChat } from "./EmptyChat";
import { Answered, Answering, Asked } from "./Message";

/** How near to the end counts as being there, in pixels. */
const NEAR = 60;

/** Keeps the end of a growing reply in view, unless the reader scrolled up; `away` says that they did. */
function useFollow(key: string | undefined) {
  const box = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const pinned = useRef(true);
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
      if (pinned.current && (growing || live.value)) element.scrollTop = element.scrollHeight;
      growing = live.value !== null;
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

function Turn({ step, last }: { step: Step; last: boolean }) {
  const { message, versions, at } = step;
  if (message.id === writingReply.value) return <Answering />;
  if (message.role === "user") return <Asked question={message} versions={versions} at={at} />;
  return <Answered reply={message} versions={versions} at={at} last={last} />;
}

export function Conversation() {
  const one = chat.value;
  const steps = path.value;
  const seenFrom = horizon(steps.map(({ message }) => message));
  const { box, away, toEnd } = useFollow(one?.id);
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
            {steps.flatMap((step, index) => {
              const { message } = step;
              const rule = message.id === seenFrom && (
                <li key="horizon" class="horizon">
                  The model no longer sees what is above
                </li>
              );
              // By place and not by message, so that the focus stays where a version is chosen.
              return [rule, <Turn key={index} step={step} last={index === steps.length - 1} />];
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
