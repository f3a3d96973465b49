/** A modal sheet on the native `<dialog>`: focus trap, Escape and return of focus are the browser's. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { Glyph } from "./icons";

interface DialogProps {
  title: string;
  onClose: () => void;
  class?: string;
  /** A dialog without a visible head; the title still names it. */
  bare?: boolean;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, class: className, bare = false, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const name = useId();
  // Before the next key arrives: what is typed after Ctrl+K belongs to the dialog.
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={className}
      aria-labelledby={name}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      {bare ? (
        <h2 id={name} class="unseen">
          {title}
        </h2>
      ) : (
        <div class="dialog-head">
          <h2 id={name}>{title}</h2>
          <button type="button" class="icon" aria-label="Close" onClick={() => dialog.current?.close()}>
            <Glyph name="close" />
          </button>
        </div>
      )}
      <div class={bare ? "" : "dialog-body"}>{children}</div>
    </dialog>
  );
}
