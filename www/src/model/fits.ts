/**
 * What a model will need and do on this machine, before it is fetched.
 *
 * Writing a token reads every weight once, so speed is bytes per second over bytes per token. How many bytes per second this
 * machine reaches is known from the replies it wrote; what was never measured is not guessed.
 */

import type { ModelInfo } from "ternlight";

const KEY = "speeds";
/** A tab's memory has 32-bit addresses. */
const TAB = 4_000_000_000;
/** What a model takes beside its file: the cache of a conversation, and room to work. */
const BESIDE = 1.15;
/** Weights of fewer bytes stay in the processor's own memory, which says little about larger ones. */
const CACHED = 24_000_000;

interface Measured {
  bytesPerToken: number;
  tokensPerSecond: number;
}

type Speeds = Record<string, Measured>;

function speeds(): Speeds {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    const entries = Object.entries(typeof found === "object" && found !== null ? found : {});
    return Object.fromEntries(
      entries.filter(([, one]) => one?.bytesPerToken > 0 && one?.tokensPerSecond > 0) as [string, Measured][],
    );
  } catch {
    return {};
  }
}

/** Takes note of how fast a model wrote; short replies say nothing. */
export function noteSpeed(name: string, info: ModelInfo, tokensPerSecond: number, tokens: number): void {
  if (tokens < 8 || !(tokensPerSecond > 0)) return;
  const all = { ...speeds(), [name]: { bytesPerToken: info.bytesPerToken, tokensPerSecond } };
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // Without storage the next visit knows no speeds.
  }
}

export interface Fit {
  /** Bytes of memory it needs. */
  memory: number;
  /** Why it will not run here; null where nothing speaks against it. */
  against: string | null;
  /** Tokens per second; null where nothing was measured that tells. */
  speed: { tokensPerSecond: number; measured: boolean } | null;
}

export function fitOf(name: string, size: number, memoryHere: number | undefined): Fit {
  const memory = size * BESIDE;
  const all = speeds();
  const own = all[name];
  const largest = Object.values(all).sort((a, b) => b.bytesPerToken - a.bytesPerToken)[0];
  let speed: Fit["speed"] = null;
  if (own) speed = { tokensPerSecond: own.tokensPerSecond, measured: true };
  else if (largest && largest.bytesPerToken > CACHED)
    speed = { tokensPerSecond: (largest.bytesPerToken * largest.tokensPerSecond) / size, measured: false };
  const against =
    memory > TAB
      ? "more than a tab can hold"
      : // Browsers round it, and never say more than 8 GB.
        memoryHere !== undefined && memoryHere < 8 && memory > memoryHere * 0.5e9
        ? `may be too much: this machine has about ${memoryHere} GB`
        : null;
  return { memory, against, speed };
}

/** Gigabytes of memory, where the browser says. */
export function memoryHere(): number | undefined {
  return (navigator as { deviceMemory?: number }).deviceMemory;
}
