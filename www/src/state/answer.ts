/**
 * Asking and answering: the one reply that may be under way, and what starts, stops and repeats it.
 *
 * The growing reply lives in `live` and is drawn from there, at most once per frame; it is stored as it
 * grows and when it ends, however it ends, so that nothing that was on the screen is lost.
 */

import { batch, computed, signal } from "@preact/signals";
import type { Token } from "ternlight";
import { answer, type Begun } from "../model/engine";
import { ensureReady, type Failure, failureOf, LoadFailed, model } from "../model/loading";
import { answerOf, splitThought } from "../text/thinking";
import { announce, Reader } from "../ui/announce";
import { prepare } from "./attachments";
import { addMessage, chat, dropMessage, path, saveMessage, startChat, threadOf } from "./chats";
import type { Attachment } from "./messages";
import {
  asMessages,
  type Candidate,
  headOf,
  newId,
  type Question,
  type Reply,
  type ReplyToken,
} from "./messages";
import { settings, settingsOf } from "./settings";
import { holdReply } from "./sync";

/** What goes on inside the model, for those that have experts or a loop. */
export interface Inside {
  /** Of the last token: the experts of each layer that has them. */
  experts: readonly (readonly number[])[] | null;
  /** How many experts there are in each of those layers. */
  counts: readonly number[];
  /** Passes through the loop of the last tokens. */
  loops: readonly number[];
}

/** As many tokens as are drawn. */
const LOOPS_SHOWN = 60;

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
  inside?: Inside;
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

/** A reply while it is written: drawn once a frame, stored now and then, ended exactly once. */
class Writing {
  now: Live;
  readonly #speedometer = new Speedometer();
  readonly #reader: Reader;
  /** When the first word came. */
  #began = 0;
  readonly #saving: ReturnType<typeof setInterval>;
  #frame = 0;
  #letGo = () => {};

  constructor(reply: Reply) {
    this.now = { reply, phase: "waiting", read: { done: 0, total: 0 }, dropped: 0, speed: 0, count: 0 };
    this.#reader = new Reader(answerOf(reply.text).length);
    batch(() => {
      live.value = this.now;
      addMessage(reply);
    });
    const ended = new Promise<void>((resolve) => (this.#letGo = resolve));
    holdReply(reply.id, ended);
    this.#saving = setInterval(this.#save, SAVE_INTERVAL);
    window.addEventListener("pagehide", this.#save);
  }

  readonly #save = () => {
    if (this.now.reply.text) void saveMessage(this.now.reply);
  };

  show(change: Partial<Live>): void {
    this.now = { ...this.now, ...change };
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (live.value) live.value = this.now;
    });
  }

  look({ experts, loops }: Pick<Token, "experts" | "loops">, counts: readonly number[]): void {
    if (!experts && loops === undefined) return;
    const before = this.now.inside?.loops ?? [];
    this.show({
      inside: {
        experts: experts ?? null,
        counts,
        loops: loops === undefined ? before : [...before, loops].slice(-LOOPS_SHOWN),
      },
    });
  }

  grow(piece: string, fresh: ReplyToken[], ids: number[]): void {
    const { reply, count } = this.now;
    const text = reply.text + piece;
    const kept = settings.value.probabilities;
    const tokens = kept ? [...reply.tokens, ...fresh] : reply.tokens;
    const gap = !kept && fresh.length > 0 && reply.tokens.length > 0 ? { gap: true } : {};
    this.#began ||= performance.now();
    const thinking = this.#thinking(reply, text, count + fresh.length);
    this.show({
      phase: "writing",
      count: count + fresh.length,
      reply: { ...reply, ...gap, ...thinking, text, tokens, ids: [...(reply.ids ?? []), ...ids] },
      speed: this.#speedometer.tick(fresh.length),
    });
    this.#reader.push(answerOf(text));
  }

  /** How long it has thought aloud, as long as it does. */
  #thinking(reply: Reply, text: string, tokens: number): Pick<Reply, "thinking"> {
    if (reply.thinking && !splitThought(reply.text).open) return {};
    const { thought, open } = splitThought(text);
    if (thought === null || (!open && !reply.text)) return {};
    return { thinking: { tokens, ms: Math.round(performance.now() - this.#began) } };
  }

  end(failure: Failure | null): void {
    cancelAnimationFrame(this.#frame);
    clearInterval(this.#saving);
    window.removeEventListener("pagehide", this.#save);
    const { unfinished: _, ...whole } = this.now.reply;
    this.#reader.finish(answerOf(whole.text));
    const trouble = failure && failure.code !== "cancelled" ? failure : null;
    batch(() => {
      live.value = null;
      abort = null;
      // Stopped before the first word: no version of an answer to keep.
      if (!whole.text && !trouble) dropMessage(whole);
      else void saveMessage(trouble ? { ...whole, trouble } : whole).finally(this.#letGo);
    });
    if (!whole.text) this.#letGo();
    if (trouble) announce(trouble.message);
  }
}

/** Writes a reply, or goes on with the one that is there; `spell` where its ids say more than its text. */
async function write(reply: Reply, spell = false): Promise<void> {
  if (live.value) return;
  abort = new AbortController();
  const { signal } = abort;
  const writing = new Writing(reply);
  let failure: Failure | null = null;
  try {
    await ensureReady(signal);
    const { name } = model.value;
    // Tokens of another model's reply mean nothing to this one; the text does.
    const same = reply.model === name;
    const begun: Begun | null = reply.text
      ? { text: reply.text, ids: same ? (reply.ids ?? []) : [], spell: spell && same }
      : null;
    writing.show({ phase: "reading", reply: { ...reply, model: name, ids: [...(begun?.ids ?? [])] } });
    const prepared = await prepare(threadOf(reply.chat, reply.parent));
    if (prepared) await saveMessage(prepared);
    const messages = asMessages(threadOf(reply.chat, reply.parent));
    const figures = await answer({ messages, begun }, settingsOf(reply.chat), signal, {
      onReading: (done, total, dropped) => {
        // The context may slide in mid-reply; what is written by then stays in sight.
        const phase = writing.now.count > 0 ? "writing" : "reading";
        writing.show({ phase, read: { done, total }, dropped });
      },
      onBegun: (text, ids) => writing.show({ reply: { ...writing.now.reply, text, ids: [...ids] } }),
      onPiece: (piece, fresh, ids) => writing.grow(piece, fresh, ids),
      onToken: (token, counts) => writing.look(token, counts),
    });
    writing.show({ reply: { ...writing.now.reply, figures } });
  } catch (error) {
    // A load that failed is shown where it happened, and the question waits to be answered.
    if (!(error instanceof LoadFailed)) failure = failureOf(error);
  }
  writing.end(failure);
}

function newReply(question: Question): Reply {
  return {
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
}

function askAfter(id: string, parent: string | null, text: string, attachments: Attachment[]): void {
  const question: Question = {
    id: newId(),
    chat: id,
    parent,
    created: Date.now(),
    role: "user",
    text: text.trim(),
    ...(attachments.length > 0 ? { attachments } : {}),
  };
  addMessage(question);
  void saveMessage(question);
  void write(newReply(question));
}

/** Asks in the open chat, or in a new one. */
export function ask(text: string, attachments: Attachment[] = []): void {
  if (live.value || !text.trim()) return;
  const { id } = chat.value ?? startChat();
  askAfter(id, path.value.at(-1)?.message.id ?? null, text, attachments);
}

/** Asks a question differently; the earlier wording, and what followed it, stay as another version. */
export function askAgain(question: Question, text: string): void {
  if (live.value || !text.trim()) return;
  askAfter(question.chat, question.parent, text, question.attachments ?? []);
}

/** Writes one more version of an answer. */
export function regenerate(reply: Reply): void {
  if (live.value) return;
  const question = threadOf(reply.chat, reply.parent).at(-1);
  if (question?.role !== "user") return;
  // A version that failed before its first word is no version to come back to.
  if (!reply.text) dropMessage(reply);
  void write(newReply(question));
}

/** Goes on with an answer that ended before its end. */
export function continueReply(reply: Reply): void {
  if (live.value) return;
  const { figures: _, trouble: __, ...begun } = reply;
  void write({ ...begun, unfinished: true });
}

/** Puts other words in the place of an answer; the earlier ones stay as another version. */
export function rewrite(reply: Reply, text: string): void {
  const {
    figures: _,
    trouble: __,
    unfinished: ___,
    ids: ____,
    thinking: _____,
    gap: ______,
    ...rest
  } = reply;
  const changed: Reply = { ...rest, id: newId(), created: Date.now(), text, tokens: [], edited: true };
  addMessage(changed);
  void saveMessage(changed);
}

/** Whether it is known which of a reply's ids is which of its tokens. */
export function canRewind({ tokens, ids = [], gap = false, parent }: Reply): boolean {
  return !busy.value && !gap && parent !== null && ids.length >= tokens.length;
}

/** Answers again from one token on, with another one in its place; the earlier answer stays as another version. */
export function rewind(reply: Reply, index: number, other: Candidate & { id: number }): void {
  const question = threadOf(reply.chat, reply.parent).at(-1);
  const token = reply.tokens[index];
  if (!canRewind(reply) || question?.role !== "user" || !token) return;
  const { ids = [], tokens } = reply;
  const before = tokens.slice(0, index);
  const chosen = { text: other.text, logprob: other.logprob, top: token.top };
  const fresh: Reply = {
    ...newReply(question),
    model: reply.model,
    text: `${headOf(reply)}${before.map(({ text }) => text).join("")}${other.text}`,
    tokens: [...before, chosen],
    ids: [...ids.slice(0, ids.length - tokens.length + index), other.id],
  };
  void write(fresh, true);
}

/** Gives the last question an answer when stopping or a reload left it without one. */
export function resume(): void {
  const last = path.value.at(-1)?.message;
  if (last?.role === "user") void write(newReply(last));
}
