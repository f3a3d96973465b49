/**
 * What a screen reader is told, politely: short facts, and a reply sentence by sentence.
 *
 * A live region around the streaming text itself would be read again on every token; this one only ever grows by
 * whole sentences.
 */

import { signal } from "@preact/signals";

const lines = signal<{ id: number; text: string }[]>([]);
let next = 0;

export function announce(text: string): void {
  next += 1;
  lines.value = [...lines.value.slice(-8), { id: next, text }];
}

export function Announcer() {
  return (
    <div class="unseen" role="log" aria-live="polite" aria-label="Announcements">
      {lines.value.map((line) => (
        <p key={line.id}>{line.text}</p>
      ))}
    </div>
  );
}

/** Turns a growing text into announcements, one per finished sentence. */
export class Reader {
  #said: number;

  /** The first `said` characters are not told again. */
  constructor(said = 0) {
    this.#said = said;
  }

  push(text: string): void {
    const fresh = text.slice(this.#said);
    const last = Math.max(
      fresh.lastIndexOf(". "),
      fresh.lastIndexOf("! "),
      fresh.lastIndexOf("? "),
      fresh.lastIndexOf("\n"),
    );
    if (last < 0) return;
    this.#say(fresh.slice(0, last + 1));
  }

  finish(text: string): void {
    this.#say(text.slice(this.#said));
  }

  #say(part: string): void {
    this.#said += part.length;
    const plain = part.replace(/[*_`#>]+/g, "").trim();
    if (plain) announce(plain);
  }
}
