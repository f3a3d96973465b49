/**
 * A conversation as a tree of messages, and the one path through it that is on the screen.
 *
 * Asking a question differently or answering it again adds a sibling, so nothing that was said is ever replaced.
 * Invariant: a message never changes its parent; only its writer changes its text.
 */

import type { Message } from "ternlight";
import { answerOf } from "../text/thinking";
import type { OwnSettings } from "./choices";

/** A token that might have come. Probabilities are natural logarithms. */
export interface Candidate {
  text: string;
  logprob: number;
  /** The model's id of it; absent in replies of earlier versions of the page. */
  id?: number;
}

/** One token of a reply, with what else the model considered. */
export interface ReplyToken {
  text: string;
  logprob: number;
  /** Most likely first; may or may not contain the token that was drawn. */
  top: Candidate[];
}

export interface ReplyFigures {
  promptTokens: number;
  cachedTokens: number;
  tokens: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  /** Why the reply ended, a code of the engine. */
  finish: string;
  /** How many of the messages before it the model no longer saw; absent in replies of earlier versions of the page. */
  droppedMessages?: number;
}

interface Node {
  id: string;
  chat: string;
  /** The message it follows; null for the first of a conversation. */
  parent: string | null;
  created: number;
}

/** A text that goes with a question. */
export interface Attachment {
  name: string;
  text: string;
}

/** Lines of an attachment that the model was given, counted from 1. */
export interface Source {
  name: string;
  from: number;
  to: number;
}

export interface Question extends Node {
  role: "user";
  text: string;
  attachments?: Attachment[];
  /** What the model is given in place of the text, once that is known: attachments come before it. */
  given?: string;
  /** Attachments were too long to be given whole; these are the passages that were. */
  partly?: boolean;
  sources?: Source[];
}

export interface Reply extends Node {
  role: "assistant";
  text: string;
  tokens: ReplyToken[];
  /** The model's token ids, to go on from exactly here; absent in replies of earlier versions of the page. */
  ids?: number[];
  model: string;
  /** How long the model thought aloud before its answer. */
  thinking?: { tokens: number; ms: number };
  /** Some of it was written without keeping probabilities, after some that was with them. */
  gap?: boolean;
  /** Changed by the person who reads it. */
  edited?: boolean;
  /** True until its writer ended it; a page that was closed leaves it true. */
  unfinished?: boolean;
  figures?: ReplyFigures;
  trouble?: { code: string; message: string };
}

export type ChatMessage = Question | Reply;

/** Which child of a message is on the screen, where it is not the newest. The first messages' key is `ROOT`. */
export type Shown = Readonly<Record<string, string>>;

export const ROOT = "";

/** The messages of one conversation, by their ids. */
export type Messages = ReadonlyMap<string, ChatMessage>;

/** Names a message or a conversation. Insecure pages have no `randomUUID`. */
export function newId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What follows each message, oldest first. A message whose parent is missing counts as a first one. */
export function childrenOf(messages: Messages): Map<string, ChatMessage[]> {
  const children = new Map<string, ChatMessage[]>();
  for (const message of messages.values()) {
    const key = message.parent !== null && messages.has(message.parent) ? message.parent : ROOT;
    const siblings = children.get(key);
    if (siblings) siblings.push(message);
    else children.set(key, [message]);
  }
  for (const siblings of children.values())
    siblings.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  return children;
}

/** A message on the screen, and its place among the other versions of itself. */
export interface Step {
  message: ChatMessage;
  versions: readonly ChatMessage[];
  at: number;
}

/** From the first message to the last, along the shown versions; the newest where none was chosen. */
export function pathOf(messages: Messages, shown: Shown): Step[] {
  const children = childrenOf(messages);
  const path: Step[] = [];
  const seen = new Set<string>();
  let key = ROOT;
  for (;;) {
    const versions = children.get(key);
    if (!versions) return path;
    const chosen = versions.findIndex(({ id }) => id === shown[key]);
    const at = chosen < 0 ? versions.length - 1 : chosen;
    const message = versions[at];
    // Stored data might be circular, however that came about.
    if (!message || seen.has(message.id)) return path;
    seen.add(message.id);
    path.push({ message, versions, at });
    key = message.id;
  }
}

/** A message and everything before it, oldest first. */
export function threadTo(messages: Messages, id: string | null): ChatMessage[] {
  const thread: ChatMessage[] = [];
  for (let at = id; at !== null; ) {
    const message = messages.get(at);
    if (!message || thread.includes(message)) break;
    thread.unshift(message);
    at = message.parent;
  }
  return thread;
}

/** The first message of a path that the model still sees, if it does not see all of them. */
export function firstSeen(path: readonly ChatMessage[], dropped: number): string | null {
  return dropped > 0 ? (path.filter(isGiven)[dropped]?.id ?? null) : null;
}

function isGiven({ role, text }: ChatMessage): boolean {
  return role === "user" || text !== "";
}

/** What the model is given for the messages of a path. What it thought aloud is not said again, as its makers want it. */
export function asMessages(path: readonly ChatMessage[]): Message[] {
  return path.filter(isGiven).map((message) => ({
    role: message.role,
    content: message.role === "assistant" ? answerOf(message.text) : (message.given ?? message.text),
  }));
}

/** What of a reply was written without keeping probabilities. */
export function headOf({ text, tokens }: Reply): string {
  const spoken = tokens.map((token) => token.text).join("");
  return text.endsWith(spoken) ? text.slice(0, text.length - spoken.length) : "";
}

/** A conversation without its messages, as it is stored. */
export interface ChatRecord {
  id: string;
  title: string;
  /** False while the title is only the start of the first question. */
  named: boolean;
  created: number;
  updated: number;
  shown: Shown;
  /** When it was pinned to the top of the list; 0 or absent where it is not. */
  pinned?: number;
  /** What of the settings this conversation has its own way. */
  how?: OwnSettings;
  /** When it was deleted, until that can no longer be undone. */
  deleted?: number;
}
