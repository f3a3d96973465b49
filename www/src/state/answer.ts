/**
 * Asking and answering: the one reply that may be under way, and what starts, stops and repeats it.
 *
 * The growing reply lives in `live` and is drawn from there, at most once per frame; it is stored as it
 * grows and when it ends, however it ends, so that nothing that was on the screen is lost.
 */

import { batch, computed, signal } from "@preact/signals";
import { answer } from "../model/engine";
import { ensureReady, type Failure, failureOf, LoadFailed, model } from "../model/loading";
import { announce, Reader } from "../ui/announce";
import { addMessage, chat, dropMessage, path, saveMessage, startChat, threadOf } from "./chats";
import { asMessages, newId, type Question, type Reply } from "./messages";
import { settings } from "./settings";
import { holdReply } from "./sync";

export interface Live {
  reply: Reply;
  /** `waiting` for the model to load, `reading` the prompt, `writing` the answer. */
  phase: "waiting" | "reading" | "writing";
  /** Tokens of the prompt that are done, and all of them. */
  read: { done: number; total: number };
  /** Messages that the model no longer sees. */
  dropped: number;
  /** Tokens per second over the last second or so; 0 until known. */
  speed: number;
  /** Tokens written so far. */
  count: number;
}

export const live = signal<Live | null>(null);
export const busy = computed(() => live.value !== null);
/** How many messages before the reply that is being written its model no longer sees. */
export const dropped = computed(() => live.value?.dropped ?? 0);
/** The chat and the reply that are being written; they change far less often than `live`. */
export const writingChat = computed(() => live.value?.reply.chat ?? null);
export const writingReply = computed(() => live.value?.reply.id ?? null);

let abort: AbortController | null = null;

export function stop(): void {
  abort?.abort();
}

/** Speed over a sliding window, so that it follows what is happening now. */
class Speedometer {
  #times: number[] = [];

  /** Notes `count` tokens that arrived together and gives the present speed. */
  tick(count: number): number {
    const now = performance.now();
    for (let i = 0; i < count; i += 1) this.#times.push(now);
    while (this.#times.length > 2 && now - (this.#times[0] ?? now) > 1500) this.#times.shift();
    const first = this.#times[0] ?? now;
    return now - first < 40 ? 0 : ((this.#times.length - 1) * 1000) / (now - first);
  }
}

/** How often a growing reply is stored, in milliseconds: a tab may be closed at any moment. */
const SAVE_INTERVAL = 2000;

/** Writes one more answer to a question; earlier ones stay. */
async function write(question: Question): Promise<void> {
  if (live.value) return;
  abort = new AbortController();
  const { signal: cancelled } = abort;
  const reply: Reply = {
    id: newId(),
    chat: question.chat,
    parent: question.id,
    created: Date.now(),
    role: "assistant",
    text: "",
    tokens: [],
    model: model.value.name,
    unfinished: true,
  };
  const speedometer = new Speedometer();
  const reader = new Reader();
  let now: Live = { reply, phase: "waiting", read: { done: 0, total: 0 }, dropped: 0, speed: 0, count: 0 };
  let frame = 0;
  const show = (change: Partial<Live>) => {
    now = { ...now, ...change };
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (live.value) live.value = now;
    });
  };
  batch(() => {
    live.value = now;
    addMessage(reply);
  });
  let letGo = () => {};
  holdReply(reply.id, new Promise<void>((resolve) => (letGo = resolve)));
  const save = () => {
    if (now.reply.text) void saveMessage(now.reply);
  };
  const saving = setInterval(save, SAVE_INTERVAL);
  window.addEventListener("pagehide", save);
  let failure: Failure | null = null;
  try {
    await ensureReady(cancelled);
    now = { ...now, phase: "reading", reply: { ...now.reply, model: model.value.name } };
    live.value = now;
    const messages = asMessages(threadOf(reply.chat, question.id));
    const figures = await answer(messages, settings.value, cancelled, {
      onReading: (done, total, dropped) => {
        // The context may slide in mid-reply; what is written by then stays in sight.
        show({ phase: now.reply.text ? "writing" : "reading", read: { done, total }, dropped });
      },
      onPiece: (piece, fresh) => {
        const text = now.reply.text + piece;
        const tokens = settings.value.probabilities ? [...now.reply.tokens, ...fresh] : now.reply.tokens;
        show({
          phase: "writing",
          count: now.count + fresh.length,
          reply: { ...now.reply, text, tokens },
          speed: speedometer.tick(fresh.length),
        });
        reader.push(text);
      },
    });
    now = { ...now, reply: { ...now.reply, figures } };
  } catch (error) {
    // A load that failed is shown where it happened, and the question waits to be answered.
    if (!(error instanceof LoadFailed)) failure = failureOf(error);
  }
  cancelAnimationFrame(frame);
  clearInterval(saving);
  window.removeEventListener("pagehide", save);
  reader.finish(now.reply.text);
  const { unfinished: _, ...whole } = now.reply;
  const trouble = failure && failure.code !== "cancelled" ? failure : null;
  batch(() => {
    live.value = null;
    abort = null;
    // Stopped before the first word: no version of an answer to keep.
    if (!whole.text && !trouble) dropMessage(reply);
    else void saveMessage(trouble ? { ...whole, trouble } : whole).finally(letGo);
  });
  if (!whole.text) letGo();
  if (trouble) announce(trouble.message);
}

function askAfter(id: string, parent: string | null, text: string): void {
  const question: Question = {
    id: newId(),
    chat: id,
    parent,
    created: Date.now(),
    role: "user",
    text: text.trim(),
  };
  addMessage(question);
  void saveMessage(question);
  void write(question);
}

/** Asks in the open chat, or in a new one. */
export function ask(text: string): void {
  if (live.value || !text.trim()) return;
  const { id } = chat.value ?? startChat();
  askAfter(id, path.value.at(-1)?.message.id ?? null, text);
}

/** Asks a question differently; the earlier wording, and what followed it, stay as another version. */
export function askAgain(question: Question, text: string): void {
  if (live.value || !text.trim()) return;
  askAfter(question.chat, question.parent, text);
}

/** Writes one more version of an answer. */
export function regenerate(reply: Reply): void {
  if (live.value) return;
  const question = threadOf(reply.chat, reply.parent).at(-1);
  if (question?.role !== "user") return;
  // A version that failed before its first word is no version to come back to.
  if (!reply.text) dropMessage(reply);
  void write(question);
}

/** Gives the last question an answer when stopping or a reload left it without one. */
export function resume(): void {
  const last = path.value.at(-1)?.message;
  if (last?.role === "user") void write(last);
}
