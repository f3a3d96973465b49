/**
 * What the page's half needs of the place where it runs. The defaults are a browser's; `node/index.ts` puts
 * Node.js's in their place.
 */
import { EngineError } from "./errors.js";
import type { FileSource } from "./protocol.js";

/** Where relative addresses lead, and how workers are made. */
export interface Platform {
  /** The address that relative ones are resolved against. */
  base(): string;
  /** Makes the engine's worker. */
  createWorker(): Worker;
  /** The files behind a text that is not an address, where there are such; else null. */
  files(path: string): Promise<FileSource[] | null>;
}

/** The platform in use. */
export const platform: Platform = {
  // Also in workers, which have no document.
  base: () => (typeof document === "undefined" ? location.href : document.baseURI),
  createWorker: () =>
    new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "ternlight" }),
  files: async () => null,
};

/** An address as it is stored and compared. */
export function absolute(url: string | URL): string {
  try {
    return new URL(url, platform.base()).href;
  } catch {
    throw new EngineError("bad-source", `not a URL: ${String(url)}`);
  }
}
