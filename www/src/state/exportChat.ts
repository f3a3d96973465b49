/** Conversations as files: what is on the screen as Markdown, everything as JSON. */

import { allMessagesOf, messagesOf } from "./chats";
import type { ChatMessage, ChatRecord } from "./messages";

function asMarkdown(title: string, messages: readonly ChatMessage[]): string {
  const parts = messages.map((message) => {
    const who = message.role === "user" ? "You" : message.model || "Model";
    return `**${who}**\n\n${message.text}`;
  });
  return `# ${title}\n\n${parts.join("\n\n---\n\n")}\n`;
}

/** Hands a text to the browser as a download. */
export function saveFile(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export async function exportChat(one: ChatRecord, as: "markdown" | "json"): Promise<void> {
  const words = one.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  const name = words.toLowerCase() || "chat";
  if (as === "markdown") {
    saveFile(`${name}.md`, "text/markdown", asMarkdown(one.title, await messagesOf(one.id)));
    return;
  }
  const all = { ...one, messages: await allMessagesOf(one.id) };
  saveFile(`${name}.json`, "application/json", JSON.stringify(all, null, 2));
}
