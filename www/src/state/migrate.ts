/**
 * Conversations as the first version of the page stored them, one value each, turned into messages.
 *
 * Every question and every version of an answer becomes a message: nothing is dropped. What followed an answer follows
 * the version of it that was shown.
 */

import { type ChatMessage, type ChatRecord, type Reply, ROOT } from "./messages";

type OldReply = Omit<Reply, "id" | "chat" | "parent" | "created" | "role" | "unfinished">;

type OldTurn = { role: "user"; text: string } | { role: "assistant"; replies: OldReply[]; shown: number };

export interface OldChat {
  id: string;
  title: string;
  named: boolean;
  created: number;
  updated: number;
  turns: OldTurn[];
}

/** Whether a stored value is a conversation of the first version. */
export function isOld(value: object): value is OldChat {
  return "turns" in value && Array.isArray(value.turns);
}

export function migrate(old: OldChat): { record: ChatRecord; messages: ChatMessage[] } {
  const messages: ChatMessage[] = [];
  const shown: Record<string, string> = {};
  let parent: string | null = null;
  const node = () => ({
    // The same on every attempt, so that a repeated migration adds nothing twice.
    id: `${old.id}/${messages.length}`,
    chat: old.id,
    parent,
    created: old.created + messages.length,
  });
  for (const turn of old.turns) {
    if (turn.role === "user") {
      const question: ChatMessage = { ...node(), role: "user", text: turn.text };
      messages.push(question);
      parent = question.id;
      continue;
    }
    const replies: Reply[] = turn.replies.map((reply) => {
      const message: Reply = { ...reply, ...node(), role: "assistant", tokens: reply.tokens ?? [] };
      messages.push(message);
      return message;
    });
    const visible = replies[turn.shown] ?? replies.at(-1);
    if (!visible) continue;
    if (replies.length > 1) shown[parent ?? ROOT] = visible.id;
    parent = visible.id;
  }
  const { id, title, named, created, updated } = old;
  return { record: { id, title, named, created, updated, shown }, messages };
}
