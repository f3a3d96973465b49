/**
 * The package's worker with a way to break it: after `"trap"` every call into the engine runs into
 * `unreachable` instead, as a panic does; on `"throw"` the script fails outside any call.
 */
// Static: messages that come before the package listens would be lost.
import "../../src/worker.js";

declare const self: DedicatedWorkerGlobalScope;

/** A module that exports `f`, which is `unreachable`. */
const BOMB = [
  [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  [0x01, 0x04, 0x01, 0x60, 0x00, 0x00],
  [0x03, 0x02, 0x01, 0x00],
  [0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00],
  [0x0a, 0x05, 0x01, 0x03, 0x00, 0x00, 0x0b],
].flat();

let armed = false;
const { f: explode } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(BOMB))).exports;

function mined(exports: WebAssembly.Exports): WebAssembly.Exports {
  const copy: WebAssembly.Exports = {};
  for (const [name, value] of Object.entries(exports)) {
    copy[name] =
      typeof value !== "function"
        ? value
        : (...args: unknown[]) => {
            if (armed && typeof explode === "function") explode();
            return Reflect.apply(value, undefined, args);
          };
  }
  return copy;
}

const original = WebAssembly.instantiateStreaming;
WebAssembly.instantiateStreaming = async (source, imports) => {
  const { module, instance } = await original(source, imports);
  const { exports } = instance;
  return { module, instance: Object.create(instance, { exports: { value: mined(exports) } }) };
};

self.addEventListener("message", ({ data }) => {
  if (data === "trap") armed = true;
  if (data === "throw") throw new Error("the worker broke");
});
await import(`${self.location.origin}/package/dist/worker.js`);
