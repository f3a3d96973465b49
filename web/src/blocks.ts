/**
 * The wasm side of a load: a block of WebAssembly memory, hashed and pushed to the loader in place.
 *
 * Invariant: what wasm throws leaves here as an `EngineError` if it has a code, else as a {@link Crash}.
 */
import type {
  EngineErrorCode,
  Chunk as WasmChunk,
  Digest as WasmDigest,
} from "../generated/simd128/ternlight.js";
import { BLOCK } from "./cache.js";
import { Crash, EngineError, messageOf } from "./errors.js";

/** The glue of any flavour; they are all alike. */
export type Glue = typeof import("../generated/simd128/ternlight.js");

/** An instance: its glue and its memory. */
export interface Instance {
  readonly glue: Glue;
  readonly memory: WebAssembly.Memory;
}

/** What takes in chunks: `EngineLoader`. */
export interface ChunkLoader {
  beginFile(name: string, length: number | undefined): void;
  push(chunk: WasmChunk, from: number, to: number): void;
  endFile(): void;
  free(): void;
}

/** Calls into wasm. */
export function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw translated(thrown);
  }
}

/** What wasm threw, as one of ours. */
export function translated(thrown: unknown): EngineError | Crash {
  if (thrown instanceof EngineError || thrown instanceof Crash) return thrown;
  if (thrown instanceof Error && "code" in thrown && isCode(thrown.code)) {
    return new EngineError(thrown.code, thrown.message);
  }
  return new Crash(messageOf(thrown));
}

// The codes exist as types only; a string `code` is never set but by the engine.
function isCode(code: unknown): code is EngineErrorCode {
  return typeof code === "string";
}

/** Takes in the bytes of files: they are put into `space()`, then named by their place in it. */
export interface BlockLoader {
  /** {@link BLOCK} bytes to fill; the view is valid until the next call of another method. */
  space(): Uint8Array<ArrayBuffer>;
  begin(name: string, length: number | null): void;
  push(from: number, to: number): void;
  end(): void;
  /** XXH3-64 of the first `length` bytes of the space, in hex. */
  checksum(length: number): string;
  /** Begins a SHA-256 over what is pushed from now on. */
  startHash(): void;
  /** That SHA-256, in hex. */
  endHash(): string;
  /** Gives back everything taken in. */
  free(): void;
}

/** A {@link BlockLoader} over a wasm instance. */
export class WasmBlockLoader<L extends ChunkLoader> implements BlockLoader {
  readonly loader: L;
  readonly #instance: Instance;
  readonly #chunk: WasmChunk;
  readonly #address: number;
  #digest: WasmDigest | null = null;

  constructor(instance: Instance, makeLoader: () => L) {
    this.#instance = instance;
    this.#chunk = guarded(() => new instance.glue.Chunk(BLOCK));
    this.#address = this.#chunk.address();
    this.loader = guarded(makeLoader);
  }

  space(): Uint8Array<ArrayBuffer> {
    const { buffer } = this.#instance.memory;
    return new Uint8Array(buffer, this.#address, BLOCK);
  }

  begin(name: string, length: number | null): void {
    this.#freeDigest();
    guarded(() => this.loader.beginFile(name, length ?? undefined));
  }

  push(from: number, to: number): void {
    guarded(() => {
      this.#digest?.update(this.#chunk, from, to);
      this.loader.push(this.#chunk, from, to);
    });
  }

  end(): void {
    guarded(() => this.loader.endFile());
  }

  checksum(length: number): string {
    return guarded(() => this.#chunk.checksum(length));
  }

  startHash(): void {
    this.#freeDigest();
    this.#digest = guarded(() => new this.#instance.glue.Digest());
  }

  endHash(): string {
    const hash = guarded(() => this.#digest?.hex() ?? "");
    this.#freeDigest();
    return hash;
  }

  free(): void {
    this.freeSpace();
    guarded(() => this.loader.free());
  }

  /** Gives back the block, when the loader is still to be finished. */
  freeSpace(): void {
    this.#freeDigest();
    guarded(() => this.#chunk.free());
  }

  #freeDigest(): void {
    guarded(() => this.#digest?.free());
    this.#digest = null;
  }
}
