/** What the page and the worker of the loading tests tell each other. */
import type { PlainSource, TransferOptions } from "../../src/protocol.js";

export interface BytesRequest {
  source: PlainSource;
  transfer: TransferOptions;
  /** Refuse the file after this many bytes, as the engine does with a bad header. */
  refuseAfter?: number;
}

export interface BytesReport {
  error: { code: string; message: string; status: number | null } | null;
  /** name → SHA-256 of what the loader was given. */
  files: [string, string][];
  lengths: (number | null)[];
  warnings: string[];
  phases: string[];
  retries: number;
  restarts: number;
  /** Loaders made and not freed. */
  alive: number;
}
