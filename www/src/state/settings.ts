/**
 * What a person chose: how to answer, how to run, how to look. Kept in localStorage, each value checked when read.
 *
 * How to answer may differ from one conversation to the next: what was changed while one was open is its own, and stored
 * with it.
 */

import { computed, effect, signal } from "@preact/signals";
import { chat, howOf, setHow } from "./chats";
import { OWN, type OwnSettings, type Settings } from "./choices";

export type { Settings } from "./choices";

export type Theme = "auto" | "light" | "dark";

export const DEFAULTS: Settings = {
  system: "",
  temperature: 0.7,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repetitionPenalty: 1.05,
  maxTokens: 512,
  seed: null,
  probabilities: true,
  experts: 0,
  loops: 0,
  exit: 1,
  threads: 0,
  context: 0,
};

/** Bounds of every number, shared by the form and the reader of stored values. */
export const LIMITS = {
  temperature: { min: 0, max: 2, step: 0.05 },
  topK: { min: 0, max: 200, step: 1 },
  topP: { min: 0.05, max: 1, step: 0.01 },
  minP: { min: 0, max: 0.5, step: 0.01 },
  repetitionPenalty: { min: 1, max: 1.5, step: 0.01 },
  maxTokens: { min: 16, max: 8192, step: 16 },
  experts: { min: 0, max: 1024, step: 1 },
  loops: { min: 0, max: 256, step: 1 },
  exit: { min: 0, max: 1, step: 0.05 },
  threads: { min: 0, max: 64, step: 1 },
  context: { min: 0, max: 131_072, step: 256 },
} as const;

export type NumberSetting = keyof typeof LIMITS;

function stored(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

function keep(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage may be off; the choice then lasts as long as the tab.
  }
}

/** How to draw tokens, in three words. */
export const PRESETS = {
  Precise: { temperature: 0.2, topK: 40, topP: 0.9, minP: 0.1, repetitionPenalty: 1.05 },
  Balanced: { temperature: 0.7, topK: 40, topP: 0.95, minP: 0.05, repetitionPenalty: 1.05 },
  Creative: { temperature: 1.1, topK: 100, topP: 0.98, minP: 0.05, repetitionPenalty: 1.1 },
} as const;

const CHECKS: { [K in keyof Settings]: (value: unknown) => boolean } = {
  ...(Object.fromEntries(
    (Object.keys(LIMITS) as NumberSetting[]).map((key) => [
      key,
      (value: unknown) => typeof value === "number" && value >= LIMITS[key].min && value <= LIMITS[key].max,
    ]),
  ) as Record<NumberSetting, (value: unknown) => boolean>),
  system: (value) => typeof value === "string",
  seed: (value) => value === null || (Number.isSafeInteger(value) && (value as number) >= 0),
  probabilities: (value) => typeof value === "boolean",
};

/** The valid ones of stored values; `wrong` hears of the others. */
function valid(found: object, keys: readonly (keyof Settings)[], wrong: (key: string) => void) {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(found)) {
    const known = keys.find((one) => one === key);
    if (known && CHECKS[known](value)) result[known] = value;
    else wrong(key);
  }
  return result as Partial<Settings>;
}

/** Settings of a conversation that came from a file. */
export function readOwn(found: object, wrong: (key: string) => void): OwnSettings {
  return valid(found, OWN, wrong);
}

function restoreSettings(): Settings {
  const found = stored("settings");
  if (typeof found !== "object" || found === null) return DEFAULTS;
  return { ...DEFAULTS, ...valid(found, Object.keys(DEFAULTS) as (keyof Settings)[], () => {}) };
}

/** What holds where a conversation has nothing of its own. */
const usual = signal<Settings>(restoreSettings());

/** What holds for a conversation. */
export function settingsOf(id: string): Settings {
  return { ...usual.value, ...howOf(id) };
}

/** What holds on the stage. */
export const settings = computed<Settings>(() => (chat.value ? settingsOf(chat.value.id) : usual.value));
/** Whether the open conversation has something its own way. */
export const hasOwn = computed(() => Object.keys(chat.value?.how ?? {}).length > 0);

/** Changes how the open conversation is answered, or new ones where none is open; how to run is the same for all. */
export function change(values: Partial<Settings>): void {
  const one = chat.value;
  const isOwn = (key: string) => one !== null && OWN.some((own) => own === key);
  const entries = Object.entries(values);
  const own = Object.fromEntries(entries.filter(([key]) => isOwn(key)));
  if (one && Object.keys(own).length > 0) setHow(one.id, { ...one.how, ...own });
  const rest = entries.filter(([key]) => !isOwn(key));
  if (rest.length > 0) usual.value = { ...usual.value, ...Object.fromEntries(rest) };
}

export function set<K extends keyof Settings>(key: K, value: Settings[K]): void {
  change({ [key]: value });
}

/** Makes the open conversation's settings those of new ones. */
export function shareOwn(): void {
  usual.value = settings.value;
}

/** Gives up what the open conversation has its own way. */
export function dropOwn(): void {
  if (chat.value) setHow(chat.value.id, {});
}

const savedTheme = stored("theme");
export const theme = signal<Theme>(savedTheme === "light" || savedTheme === "dark" ? savedTheme : "auto");

effect(() => keep("settings", usual.value));
effect(() => {
  keep("theme", theme.value);
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});
