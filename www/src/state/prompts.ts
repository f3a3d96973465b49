/** System prompts that a person gave a name to, kept in localStorage. */

import { effect, signal } from "@preact/signals";

export interface Prompt {
  name: string;
  text: string;
}

const KEY = "prompts";

function isPrompt(value: unknown): value is Prompt {
  if (typeof value !== "object" || value === null) return false;
  const { name, text } = value as Partial<Prompt>;
  return typeof name === "string" && name !== "" && typeof text === "string";
}

function restore(): Prompt[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(isPrompt) : [];
  } catch {
    return [];
  }
}

export const prompts = signal<readonly Prompt[]>(restore());

effect(() => {
  const all = JSON.stringify(prompts.value);
  try {
    localStorage.setItem(KEY, all);
  } catch {
    // Storage may be off; the prompts then last as long as the tab.
  }
});

/** Another tab's prompts are these ones, too. */
window.addEventListener("storage", ({ key }) => {
  if (key === KEY) prompts.value = restore();
});

/** Keeps a text under a name; one of that name is replaced. */
export function keepPrompt(name: string, text: string): void {
  const clean = name.trim();
  if (!clean) return;
  const others = prompts.value.filter((one) => one.name !== clean);
  prompts.value = [...others, { name: clean, text }].sort((a, b) => a.name.localeCompare(b.name));
}

export function dropPrompt(name: string): void {
  prompts.value = prompts.value.filter((one) => one.name !== name);
}
