/**
 * One thread of the `threads` flavour: instantiates the engine's module over the memory it is sent, and works.
 *
 * It never answers another message. If it traps, it breaks up the pool, so that the engine's worker does not
 * wait for it, traps in turn, and the page hears of it.
 */
import type { Glue } from "./blocks.js";

declare const self: DedicatedWorkerGlobalScope;

self.addEventListener("message", async ({ data }: MessageEvent<WebAssembly.Memory>) => {
  const memory = data;
  const glue: Glue = await import(new URL("../generated/threads/ternlight.js", import.meta.url).href);
  // Compiled once more, from the browser's code cache: a module cannot be had from the other instance.
  await glue.default(instanceOver(memory));
  self.postMessage("ready");
  try {
    glue.joinPool();
  } catch {
    glue.breakPool();
  }
});

/** The options of `init` that only the threads flavour's glue has. */
function instanceOver(memory: WebAssembly.Memory): Parameters<Glue["default"]>[0] {
  const options = {
    module_or_path: new URL("../generated/threads/ternlight_bg.wasm", import.meta.url),
    memory,
  };
  return options;
}
