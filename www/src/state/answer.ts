/**
 * Asking and answering: the one reply that may be under way, and what starts, stops and repeats it.
 *
 * The growing reply lives in `live` and is drawn from there, at most once per frame; it becomes part of its chat when it
 * ends, however it ends, so that nothing that was on the screen is lost.
 */

import { batch, computed, signal } from "@preact/signals";
import { answer, ensureReady, type Failure, failureOf, LoadFailed, model } from "../model/engine";
import { announce, Reader } from "../ui/announce";
import { asMessages, changeChat, chat, chats, type Reply, setTurn, startChat, type Turn } from "./chats";
import { writeChat } from "./database";
import { settings } from "./settings";

export interface Live {
  chat: string;
  /** Index of the turn that is being written. */
  turn: number;
  reply: Reply;
  /** `waiting` for the model to load, `reading` the prompt, `writing` the answer. */
  phase: "waiting" | "reading" | "writing";
  /** Tokens of the prompt that are done, and all of them. */
  read: { done: number; total: number };
  /** Tokens per second over the last second or so; 0 until known. */
  speed: number;
  /** Tokens written so far. */
  count: number;
}

export const live = signal<Live | null>(null);
export const busy = computed(() => live.value !== null);
/** The chat and the turn that are being written; they change far less often than `live`. */
export const writingChat = computed(() => live.value?.chat ?? null);
export const writingTurn = computed(() => live.value?.turn ?? null);

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

/** Writes turn `index` of chat `id`; earlier versions of the same answer are kept. */
async function write(id: string, index: number, before: Reply[]): Promise<void> {
  if (live.value) return;
  abort = new AbortController();
  const { signal: cancelled } = abort;
  const turns = chatTurns(id).slice(0, index);
  const reply: Reply = { text: "", tokens: [], model: model.value.name };
  const speedometer = new Speedometer();
  const reader = new Reader();
  let now: Live = {
    chat: id,
    turn: index,
    reply,
    phase: "waiting",
    read: { done: 0, total: 0 },
    speed: 0,
    count: 0,
  };
  let frame = 0;
  const show = (change: Partial<Live>) => {
    now = { ...now, ...change };
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (live.value) live.value = now;
    });
  };
  live.value = now;
  // A tab may be closed at any moment: what is written so far is stored as it grows.
  const saving = setInterval(() => {
    const one = chats.value.find((other) => other.id === id);
    if (!one || !now.reply.text) return;
    const turn: Turn = { role: "assistant", replies: [...before, now.reply], shown: before.length };
    void writeChat({ ...one, turns: one.turns.with(index, turn) });
  }, 2000);
  let failure: Failure | null = null;
  try {
    await ensureReady(cancelled);
    now = { ...now, phase: "reading", reply: { ...now.reply, model: model.value.name } };
    live.value = now;
    const figures = await answer(asMessages(turns), settings.value, cancelled, {
      onReading: (done, total) => show({ phase: "reading", read: { done, total } }),
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
  reader.finish(now.reply.text);
  const done: Reply =
    failure && failure.code !== "cancelled" ? { ...now.reply, trouble: failure } : now.reply;
  batch(() => {
    live.value = null;
    abort = null;
    // Stopped before the first word: no version of an answer to keep.
    const replies = done.text || done.trouble ? [...before, done] : before;
    if (replies.length > 0) setTurn(id, index, { role: "assistant", replies, shown: replies.length - 1 });
    else changeChat(id, (one) => ({ turns: one.turns.slice(0, index) }));
  });
  if (done.trouble) announce(done.trouble.message);
}

function chatTurns(id: string): Turn[] {
  return chat.value?.id === id ? chat.value.turns : [];
}

function answerTo(id: string, turns: Turn[]): void {
  changeChat(id, () => ({ turns: [...turns, { role: "assistant", replies: [], shown: 0 }] }));
  void write(id, turns.length, []);
}

/** Asks in the open chat, or in a new one. */
export function ask(text: string): void {
  if (live.value || !text.trim()) return;
  const one = chat.value ?? startChat(text);
  answerTo(one.id, [...one.turns, { role: "user", text: text.trim() }]);
}

/** Replaces a question; what followed it goes. */
export function askAgain(index: number, text: string): void {
  const one = chat.value;
  if (!one || live.value || !text.trim()) return;
  answerTo(one.id, [...one.turns.slice(0, index), { role: "user", text: text.trim() }]);
}

/** Writes one more version of an answer; what followed it goes, the earlier versions stay. */
export function regenerate(index: number): void {
  const one = chat.value;
  const turn = one?.turns[index];
  if (!one || turn?.role !== "assistant" || live.value) return;
  // A version that failed before its first word is no version to come back to.
  const before = turn.replies.filter((reply) => reply.text !== "");
  changeChat(one.id, () => ({ turns: [...one.turns.slice(0, index), turn] }));
  void write(one.id, index, before);
}

/** Gives the last question an answer when stopping or a reload left it without one. */
export function resume(): void {
  const one = chat.value;
  if (one && !live.value && one.turns.at(-1)?.role === "user") answerTo(one.id, one.turns);
}

/** Shows the previous or the next version of an answer. */
export function turnVersion(index: number, step: number): void {
  const one = chat.value;
  const turn = one?.turns[index];
  if (!one || turn?.role !== "assistant") return;
  const shown = Math.min(Math.max(turn.shown + step, 0), turn.replies.length - 1);
  setTurn(one.id, index, { ...turn, shown });
}
