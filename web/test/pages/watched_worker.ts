/**
 * The package's worker, which tells the page of rejections that nothing handled, and with each error of a call how
 * much WebAssembly memory there is.
 */
// Static: messages that come before the package listens would be lost.
import "../../src/worker.js";

declare const self: DedicatedWorkerGlobalScope;

self.addEventListener("unhandledrejection", ({ reason }) => postMessage({ unhandled: String(reason) }));

let memory: WebAssembly.Memory | undefined;
const instantiate = WebAssembly.instantiateStreaming;
WebAssembly.instantiateStreaming = async (source, imports) => {
  const made = await instantiate(source, imports);
  if (made.instance.exports["memory"] instanceof WebAssembly.Memory) memory = made.instance.exports["memory"];
  return made;
};

const post = self.postMessage.bind(self);
self.postMessage = (message: { type?: string }) => {
  if (message.type === "error") post({ memory: memory?.buffer.byteLength ?? 0 });
  post(message);
};
