/**
 * Conversations at rest: one IndexedDB store for what a list needs to know of them, one for their messages.
 *
 * Several tabs write here. Invariant: a write changes only the fields and the messages that it names, within one
 * transaction with what it read, so no tab can overwrite what another one wrote.
 *
 * Where the browser refuses storage (some private windows) the page works on, and `durable` says that nothing is kept.
 */

import { signal } from "@preact/signals";
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from "idb";
import type { ChatMessage, ChatRecord } from "./messages";
import { isOld, migrate } from "./migrate";

interface Schema extends DBSchema {
  chats: { key: string; value: ChatRecord; indexes: { updated: number } };
  messages: { key: string; value: ChatMessage; indexes: { chat: string } };
}

type Upgrade = IDBPTransaction<Schema, ArrayLike<"chats" | "messages">, "versionchange">;

/** False once a write failed: what is on the screen will be gone with the tab. */
export const durable = signal(true);
/** True while a tab with an older version of the page keeps the stored conversations from being moved. */
export const blocked = signal(false);

let opened: Promise<IDBPDatabase<Schema>> | undefined;

async function upgrade(db: IDBPDatabase<Schema>, from: number, transaction: Upgrade): Promise<void> {
  if (from < 1) db.createObjectStore("chats", { keyPath: "id" }).createIndex("updated", "updated");
  if (from >= 2) return;
  const messages = db.createObjectStore("messages", { keyPath: "id" });
  messages.createIndex("chat", "chat");
  let cursor = await transaction.objectStore("chats").openCursor();
  while (cursor) {
    const value: object = cursor.value;
    if (isOld(value)) {
      const moved = migrate(value);
      for (const message of moved.messages) void messages.put(message);
      void cursor.update(moved.record);
    }
    cursor = await cursor.continue();
  }
}

function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>("ternlight", 2, {
    upgrade: (db, from, _to, transaction) => upgrade(db, from, transaction),
    blocked: () => (blocked.value = true),
    blocking: (_from, _to, event) => {
      // A newer version of the page waits in another tab; this one opens the database again when it next needs it.
      (event.target as IDBDatabase).close();
      opened = undefined;
    },
    terminated: () => (opened = undefined),
  }).then((db) => {
    blocked.value = false;
    return db;
  });
  return opened;
}

async function attempt<T>(work: (db: IDBPDatabase<Schema>) => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work(await database());
  } catch {
    durable.value = false;
    return otherwise;
  }
}

/** Newest first. */
export function readChats(): Promise<ChatRecord[]> {
  return attempt(async (db) => (await db.getAllFromIndex("chats", "updated")).toReversed(), []);
}

/** One conversation and all of its messages; null if there is none. */
export function readChat(id: string): Promise<{ record: ChatRecord; messages: ChatMessage[] } | null> {
  return attempt(async (db) => {
    const transaction = db.transaction(["chats", "messages"]);
    const [record, messages] = await Promise.all([
      transaction.objectStore("chats").get(id),
      transaction.objectStore("messages").index("chat").getAll(id),
    ]);
    return record ? { record, messages } : null;
  }, null);
}

/** Changes the named fields of `base`, or of what another tab made of it since; `shown` is merged key by key. */
export function writeChat(base: ChatRecord, change: Partial<ChatRecord>): Promise<void> {
  return attempt(async (db) => {
    const transaction = db.transaction("chats", "readwrite");
    const stored = (await transaction.store.get(base.id)) ?? base;
    const updated = Math.max(stored.updated, change.updated ?? 0);
    await transaction.store.put({
      ...stored,
      ...change,
      updated,
      shown: { ...stored.shown, ...change.shown },
    });
    await transaction.done;
  }, undefined);
}

/** Who wants to know of every message that this tab stores. */
export const messageStored = new Set<(message: ChatMessage) => void>();

export function writeMessage(message: ChatMessage): Promise<void> {
  for (const hear of messageStored) hear(message);
  return attempt(async (db) => void (await db.put("messages", message)), undefined);
}

/** How many messages are read at once: each may carry thousands of probabilities. */
const BATCH = 200;

/** Gives every stored message's text, without holding more than a few messages in memory. */
export function readTexts(each: (chat: string, message: string, text: string) => void): Promise<void> {
  return attempt(async (db) => {
    let after: IDBKeyRange | null = null;
    for (;;) {
      const batch: ChatMessage[] = await db.getAll("messages", after, BATCH);
      for (const { chat, id, text } of batch) each(chat, id, text);
      const last = batch.at(-1);
      if (!last || batch.length < BATCH) return;
      after = IDBKeyRange.lowerBound(last.id, true);
    }
  }, undefined);
}

/** Everything that is stored. */
export function readAll(): Promise<{ record: ChatRecord; messages: ChatMessage[] }[]> {
  return attempt(async (db) => {
    const transaction = db.transaction(["chats", "messages"]);
    const [records, messages] = await Promise.all([
      transaction.objectStore("chats").getAll(),
      transaction.objectStore("messages").getAll(),
    ]);
    const byChat = new Map<string, ChatMessage[]>(records.map(({ id }) => [id, []]));
    for (const message of messages) byChat.get(message.chat)?.push(message);
    return records.map((record) => ({ record, messages: byChat.get(record.id) ?? [] }));
  }, []);
}

/**
 * Adds conversations and messages that are not here yet, all or none of them; those that are here stay as they are, but for
 * being brought back where they were deleted. Returns how many messages were new, or null where nothing could be stored.
 */
export function addAll(records: ChatRecord[], messages: ChatMessage[]): Promise<number | null> {
  return attempt<number | null>(async (db) => {
    const transaction = db.transaction(["chats", "messages"], "readwrite");
    const store = transaction.objectStore("chats");
    for (const record of records) {
      const before = await store.get(record.id);
      if (!before) void store.put(record);
      else if (before.deleted) void store.put({ ...before, deleted: 0 });
    }
    const kept = transaction.objectStore("messages");
    const known = new Set(await kept.getAllKeys());
    let added = 0;
    for (const message of messages) {
      if (known.has(message.id)) continue;
      known.add(message.id);
      void kept.put(message);
      added += 1;
    }
    await transaction.done;
    return added;
  }, null);
}

/** Takes a deleted conversation away for good, unless a tab brought it back meanwhile. */
export function purgeChat(id: string): Promise<void> {
  return attempt(async (db) => {
    const transaction = db.transaction(["chats", "messages"], "readwrite");
    const stored = await transaction.objectStore("chats").get(id);
    if (stored?.deleted) {
      void transaction.objectStore("chats").delete(id);
      const messages = transaction.objectStore("messages");
      for (const key of await messages.index("chat").getAllKeys(id)) void messages.delete(key);
    }
    await transaction.done;
  }, undefined);
}
