/** What a person chose: how to answer, how to run, how to look. Kept in localStorage, each value checked when read. */

import { effect, signal } from "@preact/signals";

export interface Settings {
  system: string;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  maxTokens: number;
  /** null draws a new seed for every reply. */
  seed: number | null;
  /** Keep each token's probability and its alternatives. */
  probabilities: boolean;
  /** 0 uses every core the engine finds useful. */
  threads: number;
  /** 0 takes the model's own, capped by the engine. */
  context: number;
}

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

function restoreSettings(): Settings {
  const found = stored("settings");
  const result = { ...DEFAULTS };
  if (typeof found !== "object" || found === null) return result;
  const values = new Map<string, unknown>(Object.entries(found));
  for (const key of Object.keys(LIMITS) as NumberSetting[]) {
    const value = values.get(key);
    const { min, max } = LIMITS[key];
    if (typeof value === "number" && value >= min && value <= max) result[key] = value;
  }
  const system = values.get("system");
  if (typeof system === "string") result.system = system;
  const seed = values.get("seed");
  if (typeof seed === "number" && Number.isSafeInteger(seed) && seed >= 0) result.seed = seed;
  if (values.get("probabilities") === false) result.probabilities = false;
  return result;
}

export const settings = signal<Settings>(restoreSettings());

export function set<K extends keyof Settings>(key: K, value: Settings[K]): void {
  settings.value = { ...settings.value, [key]: value };
}

const savedTheme = stored("theme");
export const theme = signal<Theme>(savedTheme === "light" || savedTheme === "dark" ? savedTheme : "auto");

effect(() => keep("settings", settings.value));
effect(() => {
  keep("theme", theme.value);
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});
