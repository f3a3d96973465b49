/**
 * Conversations at rest: one IndexedDB store of whole chats.
 *
 * Where the browser refuses storage (some private windows) the page works on, and `durable` says that nothing is kept.
 */

import { signal } from "@preact/signals";
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Chat } from "./chats";

interface Schema extends DBSchema {
  chats: { key: string; value: Chat; indexes: { updated: number } };
}

/** False once a write failed: what is on the screen will be gone with the tab. */
export const durable = signal(true);

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>("ternlight", 1, {
    upgrade(db) {
      db.createObjectStore("chats", { keyPath: "id" }).createIndex("updated", "updated");
    },
  });
  return opened;
}

export async function readChats(): Promise<Chat[]> {
  try {
    const db = await database();
    return (await db.getAllFromIndex("chats", "updated")).toReversed();
  } catch {
    durable.value = false;
    return [];
  }
}

export async function writeChat(chat: Chat): Promise<void> {
  try {
    await (await database()).put("chats", chat);
  } catch {
    durable.value = false;
  }
}

export async function deleteChat(id: string): Promise<void> {
  try {
    await (await database()).delete("chats", id);
  } catch {
    durable.value = false;
  }
}
