/**
 * The first script of a thread: gives it the parts of a browser's worker scope that the engine's worker uses,
 * then runs the script that it was made for.
 */
import { openAsBlob } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import type { PlainFile, Request } from "../protocol.js";
import { storage } from "./storage.js";
import { ThreadWorker } from "./worker.js";

const port = parentPort;
if (port === null) throw new Error("this script is for worker threads");

const listeners = new EventTarget();
const waiting: unknown[] = [];
let heard = false;
let arrivals = Promise.resolve();
port.on("message", (message) => {
  arrivals = arrivals.then(async () => {
    const data: unknown = await withBlobs(message);
    // Messages that come before the script listens must wait for it.
    if (heard) listeners.dispatchEvent(new MessageEvent("message", { data }));
    else waiting.push(data);
  });
});

/** Puts the content in the place of `file:` addresses: a Blob of a file cannot be sent, only its address. */
async function withBlobs(message: Request | undefined): Promise<unknown> {
  if (message?.call !== "load" || message.params.source.kind !== "files") return message;
  const files = await Promise.all(
    message.params.source.files.map(async (file): Promise<PlainFile> => {
      if (file.blob !== null || !file.url?.startsWith("file:")) return file;
      const blob = await openAsBlob(fileURLToPath(file.url)).catch(() => null);
      return blob === null ? file : { ...file, url: null, blob };
    }),
  );
  return { ...message, params: { ...message.params, source: { kind: "files", files } } };
}

const fetchRemote = globalThis.fetch;

/** `fetch` that also reads the package's own files. */
async function fetchAny(target: string | URL | globalThis.Request, options?: RequestInit): Promise<Response> {
  const url = target instanceof globalThis.Request ? target.url : String(target);
  if (!url.startsWith("file:")) return fetchRemote(target, options);
  const type = url.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  return new Response(await readFile(fileURLToPath(url)), { headers: { "Content-Type": type } });
}

const scope = {
  self: globalThis,
  Worker: ThreadWorker,
  fetch: fetchAny,
  // Threads may always share memory here.
  crossOriginIsolated: true,
  // No page, hence no origin of its own.
  location: { href: "file:///", origin: "null" },
  navigator: {
    hardwareConcurrency: availableParallelism(),
    storage: storage(),
    locks: {
      request: (_name: string, _options: unknown, work: (lock: object) => unknown) => work({}),
    },
  },
  postMessage: (message: unknown) => port.postMessage(message),
  addEventListener: (type: string, listener: (event: Event) => void) => {
    listeners.addEventListener(type, listener);
    if (type !== "message" || heard) return;
    heard = true;
    queueMicrotask(() => {
      for (const data of waiting.splice(0)) {
        listeners.dispatchEvent(new MessageEvent("message", { data }));
      }
    });
  },
};
for (const [name, value] of Object.entries(scope)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

await import(workerData.ternlight);
