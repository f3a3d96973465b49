/**
 * ternlight: ternary and low-bit language models in a browser tab, on the CPU.
 *
 * ```ts
 * const engine = await Engine.load("hf:owner/repo/model.gguf", { onProgress });
 * for await (const piece of engine.chat([{ role: "user", content: "Hello" }], { signal })) {
 *   output.append(piece.text);
 * }
 * await engine.close();
 * ```
 *
 * The model runs in a worker of its own; the page never blocks.
 */
import { type CacheEntry, Store } from "./cache.js";
import { absolute } from "./platform.js";

export type {
  Alternative,
  EngineErrorCode,
  EngineOptions,
  ExpertsInfo,
  GenerateOptions,
  LoopInfo,
  Message,
  ModelInfo,
  Piece,
  Prefill,
  Prompt,
  Sampling,
  SparseInput,
  Speculation,
  Summary,
  TemplateOptions,
  TensorSummary,
  Timings,
  Token,
} from "../generated/simd128/ternlight.js";
export type { CacheEntry } from "./cache.js";
export {
  type ChatOptions,
  Engine,
  type LoadOptions,
  type ModelSource,
  type Reply,
  type ReplyOptions,
} from "./client.js";
export { EngineError, type ErrorCode, type WebErrorCode } from "./errors.js";
export type { CacheMode, FileSource, Flavour, MemoryUse, Progress } from "./protocol.js";

/** The model files kept in this origin's private file system. */
export const cache = {
  /** What is stored. Empty where there is no private file system. */
  async list(): Promise<CacheEntry[]> {
    return (await stored())?.list() ?? [];
  },
  /** Removes the file that came from `url`, complete or not. */
  async remove(url: string | URL): Promise<void> {
    await (await stored())?.remove(absolute(url));
  },
  /** Removes everything. */
  async clear(): Promise<void> {
    await (await stored())?.clear();
  },
  /** Asks the browser not to evict the cache when space runs low. */
  async persist(): Promise<boolean> {
    const storage: StorageManager | undefined = navigator.storage;
    return (await storage?.persist?.()) ?? false;
  },
  /** Bytes that this origin uses and may use, where the browser says. */
  async estimate(): Promise<{ usage: number; quota: number } | null> {
    const storage: StorageManager | undefined = navigator.storage;
    const { usage, quota } = (await storage?.estimate?.()) ?? {};
    return usage === undefined || quota === undefined ? null : { usage, quota };
  },
} as const;

async function stored(): Promise<Store | null> {
  try {
    return await Store.open();
  } catch {
    return null;
  }
}
