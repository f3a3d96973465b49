/**
 * Conversations as the page holds them: the list, the open one, and every change a person can make to them.
 *
 * A record and its messages are immutable values in signals; each change makes new ones, stores them, and tells the other
 * tabs. Messages are read when a conversation is opened, so that a long list costs little.
 */

import { computed, signal } from "@preact/signals";
import type { OwnSettings } from "./choices";
import { purgeChat, readChat, readChats, writeChat, writeMessage } from "./database";
import {
  type ChatMessage,
  type ChatRecord,
  type Messages,
  newId,
  pathOf,
  ROOT,
  type Shown,
  threadTo,
} from "./messages";
import { hearTabs, tellTabs } from "./sync";

/** Newest first, without the deleted ones. */
export const chats = signal<readonly ChatRecord[]>([]);
const openId = signal<string | null>(null);
/** Messages of the conversations that were opened. */
const contents = signal<ReadonlyMap<string, Messages>>(new Map());
/** Versions chosen in this tab; another tab's choices do not change what is read here. */
const picked = signal<ReadonlyMap<string, Shown>>(new Map());
/** Replies that this tab is writing: what is stored of them is older than what is here. */
const own = new Set<string>();

const NONE: Messages = new Map();
/** How long a deleted conversation can be brought back, in milliseconds; somewhat longer than the notice that offers it. */
const UNDO_TIME = 12_000;

/** The chat on the stage; null is a new one that nothing was said in yet. */
export const chat = computed(() => recordOf(openId.value ?? ""));
/** The messages on the stage, each with its other versions. */
export const path = computed(() => {
  const one = chat.value;
  return one ? pathIn(one) : [];
});

function recordOf(id: string): ChatRecord | null {
  return chats.value.find((one) => one.id === id) ?? null;
}

function pathIn(one: ChatRecord) {
  const shown = { ...one.shown, ...picked.value.get(one.id) };
  return pathOf(contents.value.get(one.id) ?? NONE, shown);
}

/** A message that is here already, and everything before it. */
export function threadOf(id: string, message: string | null): ChatMessage[] {
  return threadTo(contents.value.get(id) ?? NONE, message);
}

/** The messages along the shown versions of a conversation, which is read first if need be. */
export async function messagesOf(id: string): Promise<ChatMessage[]> {
  await loadMessages(id);
  const one = recordOf(id);
  return one ? pathIn(one).map(({ message }) => message) : [];
}

/** Every message of a conversation, whatever version is shown. */
export async function allMessagesOf(id: string): Promise<ChatMessage[]> {
  await loadMessages(id);
  return [...(contents.value.get(id) ?? NONE).values()];
}

function list(records: readonly ChatRecord[]): void {
  chats.value = records
    .filter(({ deleted }) => !deleted)
    .sort((a, b) => Number(!a.pinned) - Number(!b.pinned) || b.updated - a.updated);
}

export async function restoreChats(): Promise<void> {
  hearTabs((id) => void readAgain(id));
  const stored = await readChats();
  const here = new Set(chats.value.map(({ id }) => id));
  for (const { id, deleted } of stored) if (deleted && deleted < Date.now() - UNDO_TIME) void purgeChat(id);
  list([...chats.value, ...stored.filter(({ id }) => !here.has(id))]);
}

function setMessages(id: string, change: (messages: Map<string, ChatMessage>) => void): void {
  const messages = new Map(contents.value.get(id));
  change(messages);
  contents.value = new Map(contents.value).set(id, messages);
}

/** Adds what is stored to what is here; nothing that is here goes away. */
function merge(id: string, stored: readonly ChatMessage[]): void {
  setMessages(id, (messages) => {
    for (const message of stored) {
      const before = messages.get(message.id);
      if (own.has(message.id)) continue;
      if (before && before.text === message.text && unfinished(before) === unfinished(message)) continue;
      messages.set(message.id, message);
    }
  });
}

function unfinished(message: ChatMessage): boolean {
  return message.role === "assistant" && (message.unfinished ?? false);
}

async function loadMessages(id: string): Promise<void> {
  if (contents.value.has(id)) return;
  const stored = await readChat(id);
  if (stored) merge(id, stored.messages);
}

/** Takes over what another tab made of a conversation. */
async function readAgain(id: string): Promise<void> {
  const stored = await readChat(id);
  const others = chats.value.filter((one) => one.id !== id);
  const writing = [...own].some((message) => contents.value.get(id)?.has(message));
  if (!stored || stored.record.deleted) {
    if (writing) return;
    if (openId.value === id) openId.value = null;
    chats.value = others;
    return;
  }
  if (contents.value.has(id)) merge(id, stored.messages);
  list([...others, stored.record]);
}

/** Takes over conversations that came from a file. */
export async function takeOver(ids: readonly string[]): Promise<void> {
  const open = contents.value;
  const stored = await readChats();
  const here = new Set(stored.map(({ id }) => id));
  list([...chats.value.filter(({ id }) => !here.has(id)), ...stored]);
  for (const id of ids) {
    if (open.has(id)) await readAgain(id);
    tellTabs(id);
  }
}

/** A message that the stage is to scroll to, once. */
export const sought = signal<string | null>(null);

/** Opens a conversation where a message is, in whatever version of it that is. */
export async function openAt(id: string, message: string): Promise<void> {
  await loadMessages(id);
  for (const step of threadOf(id, message)) pick(step);
  openId.value = id;
  sought.value = message;
}

export function openChat(id: string | null): void {
  openId.value = id;
  if (id !== null) void loadMessages(id);
}

function titleOf(question: string): string {
  const line = question.trim().split("\n")[0] ?? "";
  return line.length > 60 ? `${line.slice(0, 57).trimEnd()}…` : line || "New chat";
}

export function startChat(): ChatRecord {
  const now = Date.now();
  const fresh: ChatRecord = {
    id: newId(),
    title: "New chat",
    named: false,
    created: now,
    updated: now,
    shown: {},
  };
  list([fresh, ...chats.value]);
  contents.value = new Map(contents.value).set(fresh.id, NONE);
  openId.value = fresh.id;
  return fresh;
}

/** Changes fields of a conversation here, in the database, and in the other tabs. */
async function changeChat(id: string, change: Partial<ChatRecord>): Promise<void> {
  const before = recordOf(id);
  if (!before) return;
  const after = { ...before, ...change, shown: { ...before.shown, ...change.shown } };
  list([after, ...chats.value.filter((one) => one.id !== id)]);
  await writeChat(before, change);
  tellTabs(id);
}

export function pinChat(id: string, pinned: boolean): void {
  void changeChat(id, { pinned: pinned ? Date.now() : 0 });
}

/** Gives a conversation settings of its own. */
export function setHow(id: string, how: OwnSettings): void {
  void changeChat(id, { how });
}

/** The settings that a conversation has of its own. */
export function howOf(id: string): OwnSettings {
  return recordOf(id)?.how ?? {};
}

export function renameChat(id: string, title: string): void {
  const clean = title.trim();
  if (clean) void changeChat(id, { title: clean, named: true });
}

/** Puts a message on the stage, as the shown version of what follows its parent. Storing it is `saveMessage`. */
export function addMessage(message: ChatMessage): void {
  if (unfinished(message)) own.add(message.id);
  setMessages(message.chat, (messages) => messages.set(message.id, message));
  pick(message);
  const title = freshTitle(message.chat);
  if (title) void changeChat(message.chat, title);
}

/** Stores a message. One without a word (a reply that failed at once) is worth showing, and not worth keeping. */
export async function saveMessage(message: ChatMessage): Promise<void> {
  if (!unfinished(message)) {
    own.delete(message.id);
    setMessages(message.chat, (messages) => messages.set(message.id, message));
  }
  if (!message.text) return;
  // The message first: a record without its message would be an empty conversation for another tab.
  await writeMessage(message);
  await changeChat(message.chat, { updated: Date.now(), deleted: 0 });
}

/** Takes back a message that was never stored. */
export function dropMessage({ chat: id, id: message, parent }: ChatMessage): void {
  own.delete(message);
  setMessages(id, (messages) => messages.delete(message));
  const shown = { ...picked.value.get(id) };
  delete shown[parent ?? ROOT];
  picked.value = new Map(picked.value).set(id, shown);
}

function pick({ chat: id, parent, id: message }: ChatMessage): void {
  const shown = { ...picked.value.get(id), [parent ?? ROOT]: message };
  picked.value = new Map(picked.value).set(id, shown);
}

/** An unnamed conversation is called by the first question that is on the screen. */
function freshTitle(id: string): { title: string } | null {
  const one = recordOf(id);
  if (!one || one.named) return null;
  const first = pathIn(one)[0]?.message;
  const title = first?.role === "user" ? titleOf(first.text) : one.title;
  return title === one.title ? null : { title };
}

/** Shows another version of a message, here now and everywhere from the next visit on. */
export function showVersion(message: ChatMessage): void {
  pick(message);
  const shown = { [message.parent ?? ROOT]: message.id };
  void changeChat(message.chat, { shown, ...freshTitle(message.chat) });
}

/** Takes a conversation away and returns how to bring it back. */
export function removeChat(id: string): () => void {
  const before = recordOf(id);
  if (!before) return () => {};
  const mark = async (deleted: number) => {
    await writeChat(before, { deleted });
    tellTabs(id);
  };
  chats.value = chats.value.filter((one) => one.id !== id);
  if (openId.value === id) openId.value = null;
  void mark(Date.now());
  const purge = setTimeout(() => void purgeChat(id), UNDO_TIME);
  return () => {
    clearTimeout(purge);
    list([before, ...chats.value]);
    void mark(0);
  };
}
