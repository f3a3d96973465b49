/**
 * Markdown that is still being written, drawn block by block.
 *
 * `marked` parses, DOMPurify cleans; a block whose source did not change is not touched again, so a selection in it
 * survives while the reply streams. Invariant: text of a model never becomes an element that loads or runs anything, and
 * a block that cannot be drawn is shown as text.
 */

import DOMPurify, { type Config } from "dompurify";
import type { Token, Tokens } from "marked";
import { Component, type ComponentChildren, render } from "preact";
import { memo } from "preact/compat";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { blocksOf, htmlOf } from "./blocks";
import { Listing } from "./Listing";

const CLEAN = {
  ALLOWED_TAGS: (
    "p br strong em del code pre blockquote ul ol li hr h1 h2 h3 h4 h5 h6 " +
    "table thead tbody tr th td a span input"
  ).split(" "),
  ALLOWED_ATTR: ["href", "start", "title", "class", "align", "type", "checked", "disabled"],
  // Not addresses, so the pattern below is not for them.
  ADD_URI_SAFE_ATTR: ["align", "start", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  RETURN_TRUSTED_TYPE: true,
} satisfies Config;

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  // The boxes of a task list, and no other field.
  if (node.nodeName === "INPUT") {
    node.setAttribute("type", "checkbox");
    node.setAttribute("disabled", "");
    node.setAttribute("aria-label", node.hasAttribute("checked") ? "Done" : "To do");
  }
});

let typesetter: typeof import("./typeset") | undefined;

/** Replaces formulas by their drawing, at once where the typesetter is here already. */
function drawFormulas(place: HTMLElement): void {
  const formulas = [...place.querySelectorAll<HTMLElement>(".maths")];
  if (formulas.length === 0) return;
  const draw = () => {
    for (const formula of formulas)
      typesetter?.typeset(formula, formula.title, formula.classList.contains("display"));
  };
  if (typesetter) draw();
  else
    import("./typeset").then(
      (part) => {
        typesetter = part;
        draw();
      },
      // Without a network it may not come; the source can be read as well.
      () => {},
    );
}

/** Tables scroll inside a box of their own, which the keyboard can reach. */
function boxTables(place: HTMLElement): void {
  for (const table of place.querySelectorAll("table")) {
    const box = document.createElement("div");
    box.className = "scrollbox";
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Table");
    table.replaceWith(box);
    box.append(table);
  }
}

/** Code inside lists and quotes gets the same dress as code that stands alone; returns how to take it off. */
function dressCode(place: HTMLElement): () => void {
  const dressed = [...place.querySelectorAll("pre")].map((pre) => {
    const code = pre.textContent?.replace(/\n$/, "") ?? "";
    const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "")?.[1] ?? "";
    const box = document.createElement("div");
    pre.replaceWith(box);
    render(<Listing code={code} language={language} />, box);
    return box;
  });
  return () => {
    for (const box of dressed) render(null, box);
  };
}

function Block({ token }: { token: Token }) {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    // RETURN_TRUSTED_TYPE makes this a TrustedHTML where the browser knows them; the DOM types still say string.
    const html: unknown = DOMPurify.sanitize(htmlOf(token), CLEAN);
    element.innerHTML = html as string;
    for (const part of element.querySelectorAll("p, li, h1, h2, h3, h4, h5, h6, td, th, blockquote"))
      part.setAttribute("dir", "auto");
    boxTables(element);
    drawFormulas(element);
    return dressCode(element);
  }, [token]);
  return <div ref={place} />;
}

function PlainBlock({ text }: { text: string }) {
  return (
    <p class="plain" dir="auto">
      {text}
    </p>
  );
}

/** Shows the source of what could not be drawn. */
class Boundary extends Component<{ text: string; children: ComponentChildren }, { failed: string | null }> {
  override state: { failed: string | null } = { failed: null };

  override componentDidCatch(): void {
    this.setState({ failed: this.props.text });
  }

  override render() {
    // More text is another attempt: what is still being written may parse when it is whole.
    const { text, children } = this.props;
    return this.state.failed === text ? <PlainBlock text={text} /> : children;
  }
}

const Piece = memo(
  ({ raw, token }: { raw: string; token: Token }) => {
    if (token.type === "plain") return <PlainBlock text={raw} />;
    if (token.type === "code") {
      const { text, lang } = token as Tokens.Code;
      return <Listing code={text} language={lang?.split(/\s/)[0] ?? ""} />;
    }
    return <Block token={token} />;
  },
  (before, after) => before.raw === after.raw && before.token.type === after.token.type,
);

function Blocks({ text }: { text: string }) {
  const blocks = useMemo(() => blocksOf(text), [text]);
  return (
    <>
      {blocks.map((token, index) => (
        <Boundary key={index} text={token.raw}>
          <Piece raw={token.raw} token={token} />
        </Boundary>
      ))}
    </>
  );
}

export function Markdown({ text }: { text: string }) {
  return (
    <div class="prose">
      <Boundary text={text}>
        <Blocks text={text} />
      </Boundary>
    </div>
  );
}
