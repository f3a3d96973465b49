import { Engine, EngineError } from "ternlight";

function element<T extends Element>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

const state = element<HTMLParagraphElement>("#state");
const button = element<HTMLButtonElement>("button");
const output = element<HTMLOutputElement>("output");

// ?model= names another source: a URL, or hf:owner/repo/file.gguf
const source =
  new URLSearchParams(location.search).get("model") ?? "hf:microsoft/bitnet-b1.58-2B-4T-gguf/ggml-model-i2_s.gguf";

try {
  const engine = await Engine.load(source, {
    onProgress: ({ phase, loaded, total }) => {
      state.textContent = total ? `${phase} ${Math.round((100 * loaded) / total)} %` : phase;
    },
  });
  state.textContent = `${engine.info.name}, ${engine.flavour}`;
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    const story = output.textContent || "Once upon a time";
    output.textContent = story;
    for await (const piece of engine.generate(story, { maxTokens: 60 })) output.append(piece.text);
    button.disabled = false;
  });
} catch (error) {
  // Every error of the package has a stable code; see its README.
  state.textContent = error instanceof EngineError ? `${error.code}: ${error.message}` : String(error);
}
