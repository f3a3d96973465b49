/** First sight: what this is, in two lines, and somewhere to begin. */

import { OFFERS } from "../model/catalogue";
import { model } from "../model/loading";
import { ask } from "../state/answer";
import { bytes } from "../text/format";
import { Glyph } from "../ui/icons";
import { go } from "../ui/route";
import { Tern } from "../ui/Tern";

const STARTS = [
  "Tell me a short story about a sea bird that is afraid of the sea.",
  "Why is the sky blue? Explain it to a child.",
  "Give me three ideas for a rainy afternoon.",
  "Write a polite note asking a neighbour to turn the music down.",
];

export function EmptyChat() {
  const { state, size, source } = model.value;
  const starts = OFFERS.find((offer) => offer.source === source)?.starts ?? STARTS;
  const costs =
    state === "idle"
      ? ` The model is fetched once${size ? `, ${bytes(size)},` : ""} when you send the first message.`
      : "";
  return (
    <div class="hello column">
      <Tern />
      <h2>A language model, in this tab.</h2>
      <p>
        It runs on your own processor, and nothing you write leaves this page. Once it has been here, it works
        without a connection.
        {costs}
      </p>
      <p>
        <button type="button" class="link" onClick={() => go("why")}>
          What ternlight is, and why −1, 0, +1
        </button>
      </p>
      <ul class="starts">
        {starts.map((start) => (
          <li key={start}>
            <button type="button" onClick={() => ask(start)}>
              {start}
              <Glyph name="send" />
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
