/** How far a load is, and how fast. */
import type { Progress } from "./protocol.js";
import type { ModelFile } from "./source.js";

/** Bytes and time of a load, told at most ten times a second. */
export class Meter {
  readonly #tell: (progress: Progress) => void;
  #parts: readonly ModelFile[] = [];
  readonly #totals = new Map<ModelFile, number | null>();
  #phase: Progress["phase"] = "resolve";
  #part: ModelFile | null = null;
  #loaded = 0;
  #retries = 0;
  #toldAt = 0;
  /** Times and byte counts of the last seconds. */
  #history: [number, number][] = [];

  constructor(tell: (progress: Progress) => void) {
    this.#tell = tell;
  }

  expect(parts: readonly ModelFile[]): void {
    this.#parts = parts;
    for (const part of parts) this.#totals.set(part, part.bytes);
  }

  enter(phase: Progress["phase"], part: ModelFile | null): void {
    this.#phase = phase;
    this.#part = part ?? this.#part;
    this.#history = [];
    this.#report(performance.now());
  }

  total(part: ModelFile, total: number | null): void {
    if (total !== null) this.#totals.set(part, total);
  }

  add(count: number): void {
    this.#loaded += count;
    const now = performance.now();
    if (now - this.#toldAt >= 100) this.#report(now);
  }

  retry(): void {
    this.#retries++;
    this.#report(performance.now());
  }

  restart(): void {
    this.#loaded = 0;
    this.#history = [];
  }

  #report(now: number): void {
    this.#toldAt = now;
    this.#history.push([now, this.#loaded]);
    while (this.#history.length > 2 && now - (this.#history[0]?.[0] ?? now) > 3000) this.#history.shift();
    const [began, before] = this.#history[0] ?? [now, this.#loaded];
    const rate = now > began ? ((this.#loaded - before) * 1000) / (now - began) : 0;
    let total: number | null = 0;
    for (const bytes of this.#totals.values())
      total = total === null || bytes === null ? null : total + bytes;
    if (this.#totals.size === 0) total = null;
    this.#tell({
      phase: this.#phase,
      file: this.#part?.name ?? "",
      fileIndex: this.#part === null ? 0 : this.#parts.indexOf(this.#part),
      fileCount: this.#parts.length,
      loaded: this.#loaded,
      total,
      rate,
      secondsLeft: total === null || rate === 0 ? null : Math.max(0, total - this.#loaded) / rate,
      retries: this.#retries,
    });
  }
}
