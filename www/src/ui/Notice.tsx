/** One short message at a time at the foot of the stage, with at most one thing to do about it. */

import { signal } from "@preact/signals";
import { takeUpdate } from "../offline/install";
import { announce } from "./announce";

interface Action {
  label: string;
  run: () => void;
}

const notice = signal<{ text: string; action?: Action } | null>(null);
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says something for a moment; what should not be missed stays until it is closed. */
export function notify(text: string, action?: Action, time: "moment" | "stay" = "moment"): void {
  notice.value = action ? { text, action } : { text };
  announce(text);
  clearTimeout(timer);
  if (time === "stay") return;
  timer = setTimeout(() => (notice.value = null), action ? 8000 : 4000);
}

export function Notice() {
  const update = takeUpdate.value;
  const shown =
    notice.value ??
    (update
      ? { text: "A new version of this page is ready.", action: { label: "Reload", run: update } }
      : null);
  if (!shown) return null;
  return (
    <div class="notice">
      <span>{shown.text}</span>
      {shown.action && (
        <button
          type="button"
          class="button"
          onClick={() => {
            shown.action?.run();
            notice.value = null;
          }}
        >
          {shown.action.label}
        </button>
      )}
    </div>
  );
}
