/** A button that copies text and says, for a moment, that it did. */

import { useEffect, useState } from "preact/hooks";
import { announce } from "./announce";
import { Glyph } from "./icons";

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1600);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      announce("Copied");
    } catch {
      announce("The browser did not allow copying");
    }
  };
  return (
    <button type="button" class="icon small" title={label} aria-label={label} onClick={copy}>
      <Glyph name={done ? "check" : "copy"} />
    </button>
  );
}
