/** Which view is on the stage, and which side panel is open over it. */

import { signal } from "@preact/signals";

const ROUTES = ["chat", "why", "about", "bench"] as const;
export type Route = (typeof ROUTES)[number];

export function fromAddress(): Route {
  const name = location.hash.replace(/^#\/?/, "");
  return ROUTES.find((one) => one === name) ?? "chat";
}

export const route = signal<Route>(fromAddress());

export function go(to: Route): void {
  route.value = to;
}

/** On a narrow screen the conversations and the settings lie over the stage, one at a time. */
export const drawer = signal<"chats" | null>(null);
export const settingsOpen = signal(false);
export const modelsOpen = signal(false);
export const paletteOpen = signal(false);
export const keysOpen = signal(false);
