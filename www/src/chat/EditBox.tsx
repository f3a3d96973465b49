/** Where a message is worded differently, in its own place. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface EditBoxProps {
  text: string;
  label: string;
  /** What the main button says. */
  done: string;
  /** Whether Enter alone is enough; else it breaks the line, and Ctrl+Enter is done. */
  enter: boolean;
  onDone: (text: string) => void;
  onClose: () => void;
  children?: ComponentChildren;
}

export function EditBox({ text, label, done, enter, onDone, onClose, children }: EditBoxProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, [text]);
  const submit = () => {
    const changed = area.current?.value ?? "";
    if (changed.trim()) onDone(changed);
  };
  return (
    <form
      class="edit"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={area}
        dir="auto"
        aria-label={label}
        defaultValue={text}
        rows={Math.min(enter ? 8 : 18, text.split("\n").length + 1)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            onClose();
          } else if (
            event.key === "Enter" &&
            !event.isComposing &&
            (enter ? !event.shiftKey : event.ctrlKey)
          ) {
            event.preventDefault();
            submit();
          }
        }}
      />
      <div>
        {children}
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class="button main">
          {done}
        </button>
      </div>
    </form>
  );
}
