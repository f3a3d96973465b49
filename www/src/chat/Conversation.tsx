/** The stage of a chat: its turns, the one being written, what stands in the way, and the composer. */

import { useEffect, useRef } from "preact/hooks";
import { LoadStrip } from "../model/LoadStrip";
import { model, retryLoad, withdraw } from "../model/loading";
import { busy, live, resume, writingReply } from "../state/answer";
import { chat, path } from "../state/chats";
import { Composer } from "./Composer";
import { EmptyChat } from "./EmptyChat";
import { Answered, Answering, Asked } from "./Message";

/** Keeps the end of a growing reply in view, unless the reader scrolled up. */
function useFollow(key: string | undefined) {
  const box = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  useEffect(() => {
    pinned.current = true;
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, [key]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const watch = () => {
      pinned.current = element.scrollHeight - element.scrollTop - element.clientHeight < 60;
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
  return box;
}

export function Conversation() {
  const one = chat.value;
  const steps = path.value;
  const written = writingReply.value;
  const box = useFollow(one?.id);
  const unanswered = steps.at(-1)?.message.role === "user" && !busy.value;
  return (
    <>
      <div class="scroll" ref={box} tabIndex={-1} id="content">
        {one ? (
          <ol key={one.id} class="turns column" aria-label="Conversation">
            {steps.map((step, index) => {
              const { message } = step;
              // By place and not by message, so that the focus stays where a version is chosen.
              if (message.id === written) return <Answering key={index} />;
              if (message.role === "user")
                return <Asked key={index} question={message} versions={step.versions} at={step.at} />;
              return (
                <Answered
                  key={index}
                  reply={message}
                  versions={step.versions}
                  at={step.at}
                  last={index === steps.length - 1}
                />
              );
            })}
            {unanswered && model.value.state !== "failed" && (
              <li class="turn answered">
                <button type="button" class="button" onClick={resume}>
                  Answer this
                </button>
              </li>
            )}
          </ol>
        ) : (
          <EmptyChat />
        )}
      </div>
      <div class="column">
        <LoadStrip
          onRetry={() => {
            retryLoad();
            if (unanswered) resume();
          }}
          onBack={() => {
            withdraw();
            if (unanswered) resume();
          }}
        />
      </div>
      <Composer />
    </>
  );
}
