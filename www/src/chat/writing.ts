/** Where the cursor goes when something is to be written. */

import { go } from "../ui/route";

/** The id of the message box. */
export const COMPOSER = "composer";

/**
 * Shows the chat, with the cursor in its message box before the next key arrives.
 *
 * The box may not be on the page yet, or lie under a dialog about to close: the render queued before this settles both.
 */
export function startWriting(): void {
  go("chat");
  queueMicrotask(() => document.getElementById(COMPOSER)?.focus());
}
