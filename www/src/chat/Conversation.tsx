/** The stage of a chat: its turns, the one being written, what stands in the way, and the composer. */

import { useEffect, useRef } from "preact/hooks";
import { model, retryLoad } from "../model/engine";
import { LoadStrip } from "../model/LoadStrip";
import { busy, live, resume, writingChat, writingTurn } from "../state/answer";
import { chat, shownReply } from "../state/chats";
import { Composer } from "./Composer";
import { Hello } from "./Hello";
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
  const written = one && writingChat.value === one.id ? writingTurn.value : null;
  const box = useFollow(one?.id);
  const unanswered = one?.turns.at(-1)?.role === "user" && !busy.value;
  return (
    <>
      <div class="scroll" ref={box} tabIndex={-1} id="content">
        {one ? (
          <ol class="turns column" aria-label="Conversation">
            {one.turns.map((turn, index) => {
              if (turn.role === "user") return <Asked key={index} text={turn.text} index={index} />;
              if (index === written) return <Answering key={index} />;
              const reply = shownReply(turn);
              return (
                reply && (
                  <Answered
                    key={index}
                    reply={reply}
                    index={index}
                    last={index === one.turns.length - 1}
                    versions={turn.replies.length}
                    shown={turn.shown}
                  />
                )
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
          <Hello />
        )}
      </div>
      <div class="column">
        <LoadStrip onRetry={unanswered ? resume : retryLoad} />
      </div>
      <Composer />
    </>
  );
}
