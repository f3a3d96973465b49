/**
 * Texts that go with a question. What fits is given to the model whole; of what does not, the passages that the question is
 * about. What was given stays with the question, so that later turns find it in the engine's cache, and a person can see it.
 */

import { computed, signal } from "@preact/signals";
import { engine, model } from "../model/loading";
import { announce } from "../ui/announce";
import type { Attachment, ChatMessage, Question, Source } from "./messages";
import { settings } from "./settings";

/** A file that is being looked at, or was: `tokens` is null until they are counted. */
export interface Attached extends Attachment {
  tokens: number | null;
}

/** What will go with the next question. */
export const attached = signal<readonly Attached[]>([]);

/** Longer ones are better searched with a tool made for it. */
const LARGEST = 4_000_000;
/** Characters of a token, roughly, until they are counted. */
const PER_TOKEN = 4;

/** Tokens of attachments that leave room for the conversation and the reply. */
export const room = computed(() => {
  const context = model.value.info?.context ?? 4096;
  return Math.floor((context - Math.min(settings.value.maxTokens, context / 4)) * 0.6);
});

/** Why a file is no attachment; null if it is one. */
async function textOf(file: File): Promise<string | { refused: string }> {
  if (file.size > LARGEST) return { refused: `${file.name} is too long: attachments have 4 MB at most` };
  if (/\.pdf$/i.test(file.name)) return { refused: `${file.name}: the text of a PDF cannot be read here` };
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes("\0")) return { refused: `${file.name} is no text` };
    return text.trim() ? text.replaceAll("\r\n", "\n") : { refused: `${file.name} is empty` };
  } catch {
    return { refused: `${file.name} is no text` };
  }
}

/** Attaches files to the next question, and returns why not for those that cannot be. */
export async function attach(files: readonly File[]): Promise<string[]> {
  const refusals: string[] = [];
  for (const file of files) {
    const text = await textOf(file);
    if (typeof text !== "string") {
      refusals.push(text.refused);
      continue;
    }
    const others = attached.value.filter(({ name }) => name !== file.name);
    attached.value = [...others, { name: file.name, text, tokens: null }];
    announce(`Attached ${file.name}`);
  }
  await count();
  return refusals;
}

export function detach(name: string): void {
  attached.value = attached.value.filter((one) => one.name !== name);
}

/** Counts tokens where there is a model to count with. */
export async function count(): Promise<void> {
  const running = engine.value;
  if (!running) return;
  for (const { name, text, tokens } of attached.value) {
    if (tokens !== null) continue;
    const counted = await running.tokenize(text).then(
      (ids) => ids.length,
      () => null,
    );
    attached.value = attached.value.map((one) => (one.name === name ? { ...one, tokens: counted } : one));
  }
}

export function tokensOf({ text, tokens }: Attached): number {
  return tokens ?? Math.ceil(text.length / PER_TOKEN);
}

/** Takes what is attached, for a question that is being asked. */
export function takeAttached(): Attachment[] {
  const taken = attached.value.map(({ name, text }) => ({ name, text }));
  attached.value = [];
  return taken;
}

function quote(name: string, lines: string, text: string): string {
  return `From ${name}${lines}:\n"""\n${text}\n"""\n\n`;
}

/**
 * What the model is given for the last question of a path: the question itself if nothing goes with it.
 *
 * Long attachments of earlier questions are looked into again, since each question may be about another passage.
 */
export async function prepare(path: readonly ChatMessage[]): Promise<Question | null> {
  const question = path.at(-1);
  const running = engine.value;
  if (question?.role !== "user" || question.given !== undefined || !running) return null;
  const own = question.attachments ?? [];
  const earlier = path
    .slice(0, -1)
    .flatMap((message) => (message.role === "user" && message.partly ? (message.attachments ?? []) : []));
  const all = [...own, ...earlier];
  if (all.length === 0) return null;
  const counts = await Promise.all(all.map(({ text }) => running.tokenize(text)));
  const total = counts.reduce((sum, ids) => sum + ids.length, 0);
  if (earlier.length === 0 && total <= room.value) {
    const given = own.map(({ name, text }) => quote(name, "", text)).join("") + question.text;
    return { ...question, given };
  }
  const { findPassages } = await import("./passages");
  const texts = all.map(({ text }) => text);
  const perToken = texts.reduce((sum, text) => sum + text.length, 0) / Math.max(total, 1);
  // Quoting takes tokens, too.
  const found = findPassages(texts, question.text, room.value * perToken * 0.85);
  const sources: Source[] = found.map(({ source, from, to }) => ({
    name: all[source]?.name ?? "",
    from,
    to,
  }));
  const parts = found.map(({ text }, index) => {
    const { name, from, to } = sources[index] ?? { name: "", from: 0, to: 0 };
    return quote(name, from === to ? `, line ${from}` : `, lines ${from} to ${to}`, text);
  });
  return { ...question, given: parts.join("") + question.text, sources, partly: true };
}
