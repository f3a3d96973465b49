/** A block of code: its language, a copy button that stays in sight, and colours once it has stopped growing. */

import { useEffect, useState } from "preact/hooks";
import { CopyButton } from "../ui/CopyButton";
import type { Coloured } from "./highlight";

const MAX_COLOURED = 30_000;
/** Milliseconds without growth before colours are worth their time. */
const REST = 120;

function Colours({ parts }: { parts: Coloured[] }) {
  return (
    <>
      {parts.map((part, index) =>
        typeof part === "string" ? (
          part
        ) : (
          <span key={index} class={part.kind}>
            <Colours parts={part.inside} />
          </span>
        ),
      )}
    </>
  );
}

export function Listing({ code, language }: { code: string; language: string }) {
  const [coloured, setColoured] = useState<{ code: string; parts: Coloured[] } | null>(null);
  useEffect(() => {
    if (!language || code.length > MAX_COLOURED) return;
    let current = true;
    const timer = setTimeout(async () => {
      // Without a network it may not come; code without colours is still code.
      const found = await import("./highlight").then(
        ({ highlight }) => highlight(code, language),
        () => null,
      );
      if (current && found) setColoured({ code, parts: found });
    }, REST);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [code, language]);
  return (
    <div class="listing">
      <div class="listing-head">
        <span>{language}</span>
        <CopyButton text={code} label="Copy code" />
      </div>
      <pre tabIndex={0} dir="ltr">
        <code>{coloured?.code === code ? <Colours parts={coloured.parts} /> : code}</code>
      </pre>
    </div>
  );
}
