/** A button with a list of things to do, beside it and above everything else. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Glyph, type GlyphName } from "./icons";

interface MenuProps {
  id: string;
  label: string;
  glyph?: GlyphName;
  class?: string;
  children: ComponentChildren;
}

export function Menu({ id, label, glyph = "more", class: className = "", children }: MenuProps) {
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const element = menu.current;
    const place = (event: Event) => {
      const open = (event as ToggleEvent).newState === "open";
      button.current?.setAttribute("aria-expanded", String(open));
      const at = button.current?.getBoundingClientRect();
      if (!open || !at || !element) return;
      element.style.left = `${Math.min(at.left, window.innerWidth - element.offsetWidth - 8)}px`;
      element.style.top = `${Math.min(at.bottom + 4, window.innerHeight - element.offsetHeight - 8)}px`;
    };
    element?.addEventListener("toggle", place);
    return () => element?.removeEventListener("toggle", place);
  }, []);
  return (
    <>
      <button
        ref={button}
        type="button"
        class={`icon small ${className}`}
        aria-label={label}
        title={label}
        aria-expanded="false"
        popovertarget={id}
      >
        <Glyph name={glyph} />
      </button>
      {/* Whatever was chosen closes it. */}
      <div ref={menu} id={id} class="menu" popover="auto" onClick={() => menu.current?.hidePopover()}>
        {children}
      </div>
    </>
  );
}
