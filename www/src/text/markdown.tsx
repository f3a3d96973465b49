/**
 * Markdown that is still being written, drawn block by block.
 *
 * `marked` parses, DOMPurify cleans; a block whose source did not change is not touched again, so a selection in it
 * survives while the reply streams. Invariant: text of a model never becomes an element that loads or runs anything.
 */

import DOMPurify, { type Config } from "dompurify";
import { Lexer, Parser, type Token, type Tokens } from "marked";
import { memo } from "preact/compat";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { CopyButton } from "../ui/CopyButton";

const CLEAN = {
  ALLOWED_TAGS: [
    "p",
    "br",
    "strong",
    "em",
    "del",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "a",
  ],
  ALLOWED_ATTR: ["href", "start", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  RETURN_TRUSTED_TYPE: true,
} satisfies Config;

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

/** HTML written by the model is shown as the text it is. */
function asText(tokens: Token[]): Token[] {
  for (const token of tokens) {
    if (token.type === "html") {
      const raw = token as Tokens.HTML;
      Object.assign(token, {
        type: raw.block === true ? "paragraph" : "text",
        text: raw.raw,
        escaped: false,
      });
      if (raw.block === true)
        Object.assign(token, { tokens: [{ type: "text", raw: raw.raw, text: raw.raw, escaped: false }] });
    } else if (token.type === "image") {
      const image = token as Tokens.Image;
      Object.assign(token, { type: "text", text: image.text || image.href, escaped: false });
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

function Block({ token }: { token: Token }) {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!place.current) return;
    // RETURN_TRUSTED_TYPE makes this a TrustedHTML where the browser knows them; the DOM types still say string.
    const html: unknown = DOMPurify.sanitize(Parser.parse(asText([token])), CLEAN);
    place.current.innerHTML = html as string;
  }, [token]);
  return <div ref={place} />;
}

const Piece = memo(
  ({ token }: { raw: string; token: Token }) => {
    if (token.type === "code") {
      const code = token as Tokens.Code;
      return (
        <div class="listing">
          <pre tabIndex={0}>
            <code>{code.text}</code>
          </pre>
          <CopyButton text={code.text} label="Copy code" />
        </div>
      );
    }
    return <Block token={token} />;
  },
  (before, after) => before.raw === after.raw,
);

export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(
    () => new Lexer({ gfm: true, breaks: true }).lex(text).filter((token) => token.type !== "space"),
    [text],
  );
  return (
    <div class="prose">
      {blocks.map((token, index) => (
        <Piece key={index} raw={token.raw} token={token} />
      ))}
    </div>
  );
}
