// Import maps do not reach into workers, so the package is named by its address.
import { Engine, EngineError } from "./node_modules/ternlight/dist/index.js";

self.addEventListener("message", async ({ data: { source } }) => {
  try {
    const engine = await Engine.load(source);
    for (const title of ["a fox", "a lighthouse"]) {
      const question = { role: "user", content: `Tell me a short story about ${title}.` };
      for await (const { text } of engine.chat([question], { maxTokens: 60 })) self.postMessage({ text });
      self.postMessage({ text: "\n\n" });
    }
    await engine.close();
    self.postMessage({ text: "", done: true });
  } catch (error) {
    const code = error instanceof EngineError ? error.code : "unknown";
    self.postMessage({ error: { code, message: String(error) }, done: true });
  }
});
