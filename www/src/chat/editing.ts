/** The message that is being worded differently, by its id. */

import { signal } from "@preact/signals";
import { path } from "../state/chats";

export const editing = signal<string | null>(null);

/** Opens the last question of the conversation for editing; false if there is none. */
export function editLast(): boolean {
  const last = path.value.findLast(({ message }) => message.role === "user");
  if (last) editing.value = last.message.id;
  return last !== undefined;
}
