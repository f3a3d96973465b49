/**
 * One error class with a stable code, on both sides of the worker.
 *
 * The engine's codes come from Rust (`EngineErrorCode` in the generated types); the browser's own are
 * here. Invariant: whatever this package throws is an `EngineError`.
 */
import type { EngineErrorCode } from "../generated/simd128/ternlight.js";

/** Codes of what only a browser can get wrong. */
export type WebErrorCode =
  /** The connection failed, and kept failing through every retry. */
  | "network"
  /** The server answered with an error status (`status` says which). */
  | "http"
  /** The file at the address changed during each of several attempts to read it. */
  | "source-changed"
  /** The model source cannot be understood (a malformed reference, no files, no weights). */
  | "bad-source"
  /** There is no private file system here (private window, insecure page): nothing is cached. */
  | "no-storage"
  /** The browser grants too little storage: this file is not cached. */
  | "quota"
  /** The private file system failed in another way: this file is not cached. */
  | "storage"
  /** A cached file does not hold what was stored, and it could not be fetched again. */
  | "cache-corrupt"
  /** The engine trapped or its worker died. It is gone; a new `Engine.load` works. */
  | "crashed"
  /** The engine was closed. */
  | "closed"
  /** The browser lacks WebAssembly SIMD or module workers. */
  | "unsupported-browser";

/** Every code that an {@link EngineError} can carry. */
export type ErrorCode = EngineErrorCode | WebErrorCode;

/** An {@link EngineError} as it travels between worker and page. */
export interface ErrorRecord {
  readonly code: ErrorCode;
  readonly message: string;
  readonly status: number | null;
}

/** What this package throws and warns with. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** HTTP status, for `http`. */
  readonly status: number | null;

  constructor(code: ErrorCode, message: string, status: number | null = null) {
    super(message);
    this.code = code;
    this.status = status;
  }

  /** As a plain record, for a message. */
  toJSON(): ErrorRecord {
    return { code: this.code, message: this.message, status: this.status };
  }

  static fromRecord(record: ErrorRecord): EngineError {
    return new EngineError(record.code, record.message, record.status);
  }
}

/** A trap or panic: the instance that threw it must never be called again. */
export class Crash extends Error {}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The error for an aborted signal. */
export function cancelled(signal?: AbortSignal): EngineError {
  const reason: unknown = signal?.reason;
  const words = reason instanceof DOMException && reason.name === "AbortError" ? "" : messageOf(reason ?? "");
  return new EngineError("cancelled", words === "" ? "cancelled" : `cancelled: ${words}`);
}
