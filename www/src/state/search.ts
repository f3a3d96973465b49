/**
 * Finding conversations by what was said in them: every version of every message, not only what is on the screen.
 *
 * Texts are read from the database once, with the first search, and kept current from then on by what this tab stores and
 * what other tabs say they changed.
 */

import { computed, effect, signal } from "@preact/signals";
import { chats } from "./chats";
import { messageStored, readChat, readTexts } from "./database";
import { hearTabs } from "./sync";

export interface Hit {
  chat: string;
  /** Where in the conversation; null if only its title has the words. */
  message: string | null;
  /** What stands around the first word found, which is the middle part. */
  around: [before: string, word: string, after: string] | null;
}

export const query = signal("");
/** Null while nothing is searched for. */
export const hits = signal<readonly Hit[] | null>(null);
export const searching = computed(() => query.value.trim() !== "");

/** Chat → message → text. */
let texts: Map<string, Map<string, string>> | null = null;
let reading: Promise<void> | null = null;
/** Chats that another tab changed since their texts were read. */
const stale = new Set<string>();

function keep(chat: string, message: string, text: string): void {
  const known = texts?.get(chat);
  if (known) known.set(message, text);
  else texts?.set(chat, new Map([[message, text]]));
}

messageStored.add(({ chat, id, text }) => keep(chat, id, text));
hearTabs((chat) => stale.add(chat));

async function read(): Promise<void> {
  if (!texts) {
    texts = new Map();
    await readTexts(keep);
  }
  for (const chat of stale) {
    stale.delete(chat);
    const found = await readChat(chat);
    for (const message of found?.messages ?? []) keep(chat, message.id, message.text);
  }
}

/** Characters shown before and after the word. */
const BEFORE = 24;
const AFTER = 90;

function excerpt(text: string, at: number, length: number): Hit["around"] {
  const from = Math.max(0, at - BEFORE);
  const before = text.slice(from, at).replace(/\s+/g, " ");
  const after = text.slice(at + length, at + length + AFTER).replace(/\s+/g, " ");
  return [(from > 0 ? "…" : "") + before, text.slice(at, at + length), after];
}

/** All words must be in the conversation or its title; the message that has the most of them is shown. */
function look(chat: string, title: string, words: readonly string[]): Hit | null {
  const said = texts?.get(chat) ?? new Map<string, string>();
  const named = title.toLowerCase();
  const missing = new Set(words.filter((word) => !named.includes(word)));
  let best: { id: string; text: string; found: number } | null = null;
  for (const [id, text] of said) {
    const lower = text.toLowerCase();
    let found = 0;
    for (const word of words) {
      if (!lower.includes(word)) continue;
      found += 1;
      missing.delete(word);
    }
    if (found > (best?.found ?? 0)) best = { id, text, found };
  }
  if (missing.size > 0) return null;
  if (!best) return { chat, message: null, around: null };
  const lower = best.text.toLowerCase();
  const word = words.find((one) => lower.includes(one)) ?? "";
  return { chat, message: best.id, around: excerpt(best.text, lower.indexOf(word), word.length) };
}

effect(() => {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = chats.value;
  if (words.length === 0) {
    hits.value = null;
    return;
  }
  reading = (reading ?? Promise.resolve()).then(read);
  void reading.then(() => {
    if (query.value.toLowerCase().split(/\s+/).filter(Boolean).join(" ") !== words.join(" ")) return;
    hits.value = all.map(({ id, title }) => look(id, title, words)).filter((hit) => hit !== null);
  });
});
