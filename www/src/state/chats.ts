/**
 * Conversations: their shape, and every change a person can make to them.
 *
 * A chat is an immutable value in a signal; each change makes a new one and stores it. A reply that was asked for again
 * keeps its earlier versions, an edited question drops what came after it.
 */

import { computed, signal } from "@preact/signals";
import type { Message } from "ternlight";
import { deleteChat, readChats, writeChat } from "./database";

/** One token of a reply, with what else the model considered. Probabilities are natural logarithms. */
export interface SpokenToken {
  text: string;
  logprob: number;
  /** Most likely first; may or may not contain the token that was drawn. */
  top: { text: string; logprob: number }[];
}

export interface ReplyFigures {
  promptTokens: number;
  cachedTokens: number;
  tokens: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  /** Why the reply ended, a code of the engine. */
  finish: string;
}

export interface Reply {
  text: string;
  tokens: SpokenToken[];
  model: string;
  figures?: ReplyFigures;
  trouble?: { code: string; message: string };
}

export type Turn = { role: "user"; text: string } | { role: "assistant"; replies: Reply[]; shown: number };

export interface Chat {
  id: string;
  title: string;
  /** False while the title is only the start of the first question. */
  named: boolean;
  created: number;
  updated: number;
  turns: Turn[];
}

export const chats = signal<Chat[]>([]);
const openId = signal<string | null>(null);

/** The chat on the stage; null is a new one that nothing was said in yet. */
export const chat = computed(() => chats.value.find((one) => one.id === openId.value) ?? null);

export async function restoreChats(): Promise<void> {
  const kept = await readChats();
  const ids = new Set(chats.value.map((one) => one.id));
  const fresh = kept.filter((one) => !ids.has(one.id));
  // A tab that was closed before the first word leaves a turn without an answer.
  const whole = fresh.map((one) => ({
    ...one,
    turns: one.turns.filter((turn) => turn.role === "user" || turn.replies.length > 0),
  }));
  chats.value = [...chats.value, ...whole];
}

export function openChat(id: string | null): void {
  openId.value = id;
}

function titleOf(question: string): string {
  const line = question.trim().split("\n")[0] ?? "";
  return line.length > 60 ? `${line.slice(0, 57).trimEnd()}…` : line || "New chat";
}

export function startChat(question: string): Chat {
  const now = Date.now();
  const fresh: Chat = {
    id: crypto.randomUUID(),
    title: titleOf(question),
    named: false,
    created: now,
    updated: now,
    turns: [],
  };
  chats.value = [fresh, ...chats.value];
  openId.value = fresh.id;
  return fresh;
}

/** Replaces a chat by what `change` makes of it, and stores it. */
export function changeChat(id: string, change: (chat: Chat) => Partial<Chat>): void {
  const before = chats.value.find((one) => one.id === id);
  if (!before) return;
  const after = { ...before, ...change(before), updated: Date.now() };
  chats.value = [after, ...chats.value.filter((one) => one.id !== id)];
  void writeChat(after);
}

export function setTurn(id: string, index: number, turn: Turn): void {
  changeChat(id, ({ turns }) => ({ turns: turns.with(index, turn) }));
}

export function renameChat(id: string, title: string): void {
  const clean = title.trim();
  if (clean) changeChat(id, () => ({ title: clean, named: true }));
}

/** Takes a chat away and returns how to bring it back. */
export function removeChat(id: string): () => void {
  const before = chats.value.find((one) => one.id === id);
  if (!before) return () => {};
  chats.value = chats.value.filter((one) => one.id !== id);
  if (openId.value === id) openId.value = null;
  void deleteChat(id);
  return () => {
    chats.value = [...chats.value, before].sort((a, b) => b.updated - a.updated);
    void writeChat(before);
  };
}

export function shownReply(turn: Turn): Reply | undefined {
  return turn.role === "assistant" ? turn.replies[turn.shown] : undefined;
}

/** What the model is given: questions and the versions of the answers that are on the screen. */
export function asMessages(turns: Turn[]): Message[] {
  return turns.flatMap((turn): Message[] => {
    if (turn.role === "user") return [{ role: "user", content: turn.text }];
    const reply = shownReply(turn);
    return reply ? [{ role: "assistant", content: reply.text }] : [];
  });
}

/** A chat as a Markdown document. */
export function asMarkdown(one: Chat): string {
  const parts = one.turns.map((turn) =>
    turn.role === "user"
      ? `**You**\n\n${turn.text}`
      : `**${shownReply(turn)?.model ?? "Model"}**\n\n${shownReply(turn)?.text ?? ""}`,
  );
  return `# ${one.title}\n\n${parts.join("\n\n---\n\n")}\n`;
}

/** Hands a text to the browser as a download. */
export function saveFile(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function exportChat(one: Chat, as: "markdown" | "json"): void {
  const name =
    one.title
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-|-$/g, "")
      .toLowerCase() || "chat";
  if (as === "markdown") saveFile(`${name}.md`, "text/markdown", asMarkdown(one));
  else saveFile(`${name}.json`, "application/json", JSON.stringify(one, null, 2));
}
