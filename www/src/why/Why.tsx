/** What ternlight is, in one look: what a ternary weight does, why that is worth it, and how to have it elsewhere. */

import "../style/why.css";
import { Listing } from "../text/Listing";
import { Toy } from "./Toy";

const SOURCE = "https://github.com/ternlight/ternlight";

const LINKS = [
  { href: SOURCE, name: "Source" },
  { href: `${SOURCE}/blob/main/web/README.md`, name: "Documentation" },
  { href: `${SOURCE}/blob/main/ARCHITECTURE.md`, name: "How it is built" },
  { href: `${SOURCE}/issues`, name: "Issues" },
];

const CODE = `import { Engine } from "ternlight";

const engine = await Engine.load("hf:microsoft/bitnet-b1.58-2B-4T-gguf/ggml-model-i2_s.gguf");
const messages = [{ role: "user", content: "Why is the sky blue?" }];
for await (const { text } of engine.chat(messages)) document.body.append(text);`;

/** The weights of the layers of BitNet b1.58 2B 4T, which are all ternary, in bytes: 16 bits each, and 2. */
const LARGE = [
  { name: "as f16", bytes: "4.17 GB", part: 1, kind: "half" },
  { name: "ternary", bytes: "521 MB", part: 1 / 8, kind: "ternary" },
] as const;

function Scale() {
  return (
    <dl class="beside bars figures">
      {LARGE.map(({ name, bytes, part, kind }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <i data-kind={kind} style={{ width: `${part * 60}%` }} /> {bytes}
          </dd>
        </div>
      ))}
    </dl>
  );
}

export function Why() {
  return (
    <div class="scroll" id="content" tabIndex={-1}>
      <article class="page why">
        <h2>Minus one, zero, plus one</h2>
        <p class="lead">
          ternlight runs language models in a browser tab, above all those whose weights have only three
          values. A product with such a matrix needs no multiplication: −1 subtracts, 0 skips, +1 adds.
        </p>
        <h3>Try it: press a weight, type an input</h3>
        <Toy />
        <h3>Why it is worth it</h3>
        <ul class="reasons">
          <li>
            <h4>An eighth of the bytes</h4>
            <p>
              For each token a model reads all of its weights, so it is as fast as memory is. These are the
              layers of BitNet b1.58 2B 4T:
            </p>
            <Scale />
          </li>
          <li>
            <h4>The same answer everywhere</h4>
            <p>
              Inputs are rounded to whole numbers, and a sum of whole numbers is exact in any order. Phone or
              server, one thread or many: the same question, settings and seed give the same words.
            </p>
          </li>
          <li>
            <h4>Trained that way</h4>
            <p>
              These models learned with three values from the start; nothing was squeezed afterwards. Other
              models of a few bits per weight run here as well.
            </p>
          </li>
        </ul>
        <h3>In a page of your own</h3>
        <Listing code="npm i ternlight" language="bash" />
        <Listing code={CODE} language="ts" />
        <p class="hint">
          No GPU, no server, no special headers. Also in Node.js, and natively as a Rust crate and a program.
        </p>
        <ul class="links">
          {LINKS.map(({ href, name }) => (
            <li key={name}>
              <a href={href} target="_blank" rel="noopener noreferrer">
                {name}
              </a>
            </li>
          ))}
        </ul>
      </article>
    </div>
  );
}
