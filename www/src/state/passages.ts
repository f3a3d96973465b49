/**
 * Finding the passages of long texts that a question is about: BM25 over chunks, in the order of the text.
 *
 * Loaded only when a text is too long to be given whole.
 */

import MiniSearch from "minisearch";

export interface Passage {
  /** Which of the texts. */
  source: number;
  /** Lines, counted from 1. */
  from: number;
  to: number;
  text: string;
}

/** Characters of a passage; it ends with a line, and where there is one nearby, with a paragraph. */
const LENGTH = 900;
const LONGEST = 1400;

/** A text in passages; lines that are too long are cut. */
export function passagesOf(source: number, text: string): Passage[] {
  const passages: Passage[] = [];
  let lines: string[] = [];
  let from = 1;
  let size = 0;
  const end = (next: number) => {
    const joined = lines.join("\n").trim();
    if (joined) passages.push({ source, from, to: next - 1, text: joined });
    lines = [];
    size = 0;
    from = next;
  };
  text.split("\n").forEach((line, index) => {
    const number = index + 1;
    for (let start = 0; start < Math.max(line.length, 1); start += LONGEST) {
      const piece = line.slice(start, start + LONGEST);
      if (size > 0 && size + piece.length > LONGEST) end(start > 0 ? number + 1 : number);
      if (lines.length === 0) from = number;
      lines.push(piece);
      size += piece.length + 1;
    }
    if (size > LENGTH / 2 && (line.trim() === "" || size > LENGTH)) end(number + 1);
  });
  end(text.split("\n").length + 1);
  return passages;
}

/**
 * The passages that have most to do with a question, at most `room` characters of them. Where no word of it occurs, the
 * texts' beginnings.
 */
export function findPassages(texts: readonly string[], question: string, room: number): Passage[] {
  const all = texts.flatMap((text, source) => passagesOf(source, text));
  const index = new MiniSearch<{ id: number; text: string }>({ fields: ["text"] });
  index.addAll(all.map(({ text }, id) => ({ id, text })));
  const best = index
    .search(question, {
      prefix: (word) => word.length > 3,
      fuzzy: (word) => (word.length > 5 ? 0.15 : false),
    })
    .map(({ id }) => id as number);
  const order = [...new Set([...best, ...(best.length === 0 ? all.keys() : [])])];
  const chosen: number[] = [];
  let left = room;
  for (const id of order) {
    const size = all[id]?.text.length ?? 0;
    if (size > left) continue;
    chosen.push(id);
    left -= size;
  }
  return chosen.sort((a, b) => a - b).flatMap((id) => all[id] ?? []);
}
