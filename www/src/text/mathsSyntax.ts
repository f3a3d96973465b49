/**
 * Where maths begins and ends in Markdown: `\(…\)`, `\[…\]`, `$$…$$` and, as Pandoc has it, `$…$`.
 *
 * The element holds the source with its delimiters, which is what is read until, and unless, it is typeset.
 */

import type { MarkedExtension, Tokens } from "marked";

const INLINE =
  /^(?:\\\(((?:[^\\\n]|\\(?!\)).|\n(?!\n))+?)\\\)|\$(?![\s$])((?:[^\\$\n]|\\.)+?)(?<!\s)\$(?![\d$]))/;
const DISPLAY = /^(?:\\\[((?:(?!\n\n|\\\])[\s\S])+)\\\]|\$\$((?:(?!\n\n|\$\$)[\s\S])+)\$\$)/;
const BLOCK = new RegExp(`${DISPLAY.source.replace("^", "^ {0,3}")}[ \\t]*(?:\\n|$)`);

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function render({ raw, tex, display }: Tokens.Generic): string {
  const escaped = (text: unknown) => String(text).replace(/[&<>"]/g, (one) => ESCAPES[one] ?? one);
  const kind = display ? "maths display" : "maths";
  return `<span class="${kind}" title="${escaped(tex)}">${escaped(String(raw).trim())}</span>`;
}

function token(type: string, match: RegExpExecArray | null, display: boolean): Tokens.Generic | undefined {
  if (!match) return undefined;
  return { type, raw: match[0], tex: (match[1] ?? match[2] ?? "").trim(), display };
}

export const MATHS: NonNullable<MarkedExtension["extensions"]> = [
  {
    name: "mathsBlock",
    level: "block",
    start: (text) => text.match(/(?:^|\n) {0,3}(?:\\\[|\$\$)/)?.index,
    tokenizer: (text) => token("mathsBlock", BLOCK.exec(text), true),
    renderer: (one) => `<p>${render(one)}</p>\n`,
  },
  {
    name: "maths",
    level: "inline",
    start: (text) => text.match(/\\[([]|\$/)?.index,
    tokenizer: (text) => token("maths", DISPLAY.exec(text), true) ?? token("maths", INLINE.exec(text), false),
    renderer: render,
  },
];
