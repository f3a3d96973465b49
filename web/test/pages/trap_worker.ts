/**
 * The package's worker with a way to break it: on `"trap"` it overwrites the engine's memory, so that the
 * next call into wasm goes wrong by itself; on `"throw"` the script fails outside any call.
 */
declare const self: DedicatedWorkerGlobalScope;

const memories: WebAssembly.Memory[] = [];
for (const name of ["instantiate", "instantiateStreaming"] as const) {
  const original: (...args: never[]) => Promise<WebAssembly.WebAssemblyInstantiatedSource> =
    WebAssembly[name];
  Object.assign(WebAssembly, {
    [name]: async (...args: never[]) => {
      const source = await original(...args);
      const { memory } = source.instance.exports;
      if (memory instanceof WebAssembly.Memory) memories.push(memory);
      return source;
    },
  });
}
self.addEventListener("message", ({ data }) => {
  if (data === "trap") for (const { buffer } of memories) new Uint8Array(buffer).fill(0xff);
  if (data === "throw") throw new Error("the worker broke");
});
await import(`${self.location.origin}/package/dist/worker.js`);

// Messages that came while that was loading are still in the queue: the first `addEventListener` with a
// handler of the protocol's starts none of them, since a worker's own port is open from the beginning.
export {};
