/**
 * Markdown into blocks, whatever a model writes.
 *
 * A parser's work can grow much faster than its text: quotes in quotes, a table header with thousands of columns, long
 * runs of emphasis. What goes beyond these bounds is kept, as the plain text that it is.
 */

import { Lexer, Marked, Parser, type Token, type Tokens } from "marked";
import { MATHS } from "./mathsSyntax";

/** Quotes and lists inside each other. */
const MAX_DEPTH = 12;
const MAX_INDENT = 4 * MAX_DEPTH;
const MAX_COLUMNS = 40;
const MAX_CELLS = 2000;
/** Characters of one paragraph, heading or cell. */
const MAX_INLINE = 10_000;
/** Characters of one block, code excepted. */
const MAX_BLOCK = 40_000;
/** Characters of a whole reply. */
const MAX_TEXT = 400_000;

const { defaults: options } = new Marked({ gfm: true, breaks: true }, { extensions: MATHS });

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const MARKER = /[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))/y;
/** What may be the line between the head and the rows of a table. */
const DELIMITER_ROW = /^[\s|:>-]*-[\s|:>-]*$/;

/** Where the text of a line begins behind its quote and list markers, and how many of those there are. */
function markers(line: string): { depth: number; last: number } {
  let depth = 0;
  let last = 0;
  MARKER.lastIndex = 0;
  for (;;) {
    const from = MARKER.lastIndex;
    if (!MARKER.test(line)) return { depth, last };
    depth += 1;
    // The marker that would be one too deep.
    if (depth === MAX_DEPTH + 1) return { depth, last: from };
    last = MARKER.lastIndex;
  }
}

/** Takes the meaning from the first marker that is nested too deeply. */
function flatten(line: string): string {
  const indent = line.length - line.trimStart().length;
  const near = indent > MAX_INDENT ? line.slice(indent - MAX_INDENT) : line;
  const { depth, last } = markers(near);
  if (depth <= MAX_DEPTH) return near;
  const rest = near.slice(last).trimStart();
  return `${near.slice(0, last)} ${rest.replace(/^(\d+)([.)])/, "$1\\$2").replace(/^([>*+-])/, "\\$1")}`;
}

/** Makes nesting shallow and oversized tables plain, line by line, and leaves code as it is. */
function bounded(text: string): string {
  const lines = text.split("\n");
  let fence = "";
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      if (mark?.startsWith(fence) && line.trim() === mark) fence = "";
      continue;
    }
    if (mark) {
      fence = mark;
      continue;
    }
    lines[index] = flatten(line);
    if (!line.includes("|") || !DELIMITER_ROW.test(line)) continue;
    const columns = line.split("|").length;
    let rows = 0;
    while (lines[index + 1 + rows]?.trim() && columns * rows <= MAX_CELLS) rows += 1;
    if (columns > MAX_COLUMNS || columns * rows > MAX_CELLS) lines[index] = line.replace("-", "\\-");
  }
  return lines.join("\n");
}

function plain(raw: string): Tokens.Text {
  return { type: "text", raw, text: raw, escaped: false };
}

/** HTML written by the model is shown as the text it is. */
function asText(tokens: Token[]): Token[] {
  for (const token of tokens) {
    if (token.type === "html") {
      const raw = token as Tokens.HTML;
      if (raw.block === true) Object.assign(token, { type: "paragraph", tokens: [plain(raw.raw)] });
      else Object.assign(token, plain(raw.raw));
    } else if (token.type === "image") {
      const image = token as Tokens.Image;
      Object.assign(token, plain(image.text || image.href));
    }
    if ("tokens" in token && token.tokens) asText(token.tokens);
    if (token.type === "list") for (const item of (token as Tokens.List).items) asText(item.tokens);
    if (token.type === "table") {
      const table = token as Tokens.Table;
      for (const cell of [...table.header, ...table.rows.flat()]) asText(cell.tokens);
    }
  }
  return tokens;
}

/** The blocks of a text. A block of type `plain` is to be shown as it is written. */
export function blocksOf(text: string): Token[] {
  if (text.length > MAX_TEXT) return [{ type: "plain", raw: text, text }];
  const lexer = new Lexer(options);
  const blocks = lexer.blockTokens(bounded(text.replaceAll("\r\n", "\n")), []);
  for (const { src, tokens } of lexer.inlineQueue) {
    lexer.state.inRawBlock = false;
    if (src.length > MAX_INLINE) tokens.push(plain(src));
    else lexer.inlineTokens(src, tokens);
  }
  return blocks
    .filter(({ type }) => type !== "space" && type !== "def")
    .map((block) => {
      const huge = block.type !== "code" && block.raw.length > MAX_BLOCK;
      return huge ? { type: "plain", raw: block.raw, text: block.raw } : block;
    });
}

/** A block as HTML that holds nothing of the model but text; it is cleaned all the same. */
export function htmlOf(block: Token): string {
  return new Parser(options).parse(asText([block]));
}
