/** Maths, typeset by KaTeX; fetched when the first formula appears. */

import "katex/dist/katex.min.css";
import katex from "katex";

const MAX_LENGTH = 4000;

/** Puts the formula in place of its source; what KaTeX does not understand stays as it is written. */
export function typeset(element: HTMLElement, tex: string, display: boolean): void {
  if (tex.length > MAX_LENGTH) return;
  const drawn = document.createElement("span");
  try {
    katex.render(tex, drawn, {
      displayMode: display,
      throwOnError: true,
      strict: "ignore",
      trust: false,
      maxSize: 20,
      maxExpand: 200,
    });
  } catch {
    return;
  }
  element.replaceChildren(...drawn.childNodes);
}
