/** Keeps the address of the page and what is on the stage the same, so that Back, reload and bookmarks work. */

import { batch, effect } from "@preact/signals";
import { chat, openChat } from "../state/chats";
import { fromAddress, route } from "./route";

const CHAT = "#/c/";

function chatInAddress(): string | null {
  return location.hash.startsWith(CHAT) ? decodeURIComponent(location.hash.slice(CHAT.length)) : null;
}

function addressOf(): string {
  if (route.value !== "chat") return `#/${route.value}`;
  return chat.value ? CHAT + encodeURIComponent(chat.value.id) : "#/";
}

/** To be called once the stored conversations are known. */
export function followAddress(): void {
  // Something may have been asked before they were.
  if (!chat.value) openChat(chatInAddress());
  effect(() => {
    const address = addressOf();
    if ((location.hash || "#/") !== address) location.hash = address;
  });
  window.addEventListener("hashchange", () =>
    batch(() => {
      route.value = fromAddress();
      if (route.value === "chat") openChat(chatInAddress());
    }),
  );
}
