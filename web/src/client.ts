/**
 * The page's half: an engine that lives in a worker, and replies as async iterators.
 *
 * Invariant: when the worker dies or is closed, everything pending is rejected once, with a code, and the
 * worker is never spoken to again.
 */
import type {
  EngineOptions,
  GenerateOptions,
  Message,
  ModelInfo,
  Piece,
  Prefill,
  Prompt,
  Summary,
  TemplateOptions,
} from "../generated/simd128/ternlight.js";
import { cancelled, EngineError } from "./errors.js";
import { absolute, platform } from "./platform.js";
import {
  type CacheMode,
  Caller,
  type FileSource,
  type Flavour,
  type MemoryUse,
  type PlainFile,
  type PlainSource,
  type Progress,
} from "./protocol.js";

/**
 * Where a model comes from:
 * - a URL of a `.gguf` file (of a split one: any part), or of a folder in the Hugging Face layout, ending in `/`;
 * - `hf:owner/repo/file.gguf`, or `hf:owner/repo` for a whole folder, with `@revision` after the repo if wanted;
 * - a `File` or `Blob`;
 * - `{ files }`: the parts of a split GGUF, or a folder's `config.json`, `tokenizer.json`, `*.safetensors`, …;
 * - in Node.js, the path of a file or folder.
 */
export type ModelSource = string | URL | Blob | { readonly files: readonly (FileSource | Blob)[] };

/** How a model is loaded. The fields of `EngineOptions` set up the engine. */
export interface LoadOptions extends EngineOptions {
  /** Hears how far the load is, at most ten times a second, and at each change of phase. */
  readonly onProgress?: (progress: Progress) => void;
  /** Hears what went wrong without failing the load: `quota`, `no-storage`, `storage`, `cache-corrupt`. */
  readonly onWarning?: (warning: EngineError) => void;
  /** Aborts the load; it rejects with code `cancelled`. What was downloaded so far is kept and resumed. */
  readonly signal?: AbortSignal;
  /** How cached copies are used. Default: `"default"`. */
  readonly cache?: CacheMode;
  /** Expected SHA-256 of the (one) file, in hex. */
  readonly sha256?: string;
  /** Hash cached files in full again. Otherwise only each block's fast checksum is compared. */
  readonly verify?: boolean;
  /** Which build to run. Default: the fastest that works here. */
  readonly flavour?: Flavour;
  /** Where `hf:` references lead. Default: `https://huggingface.co`. */
  readonly hub?: string;
  /** More request headers, as an `Authorization` for gated models. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How often a lost connection is taken up again without progress in between. Default: 5. */
  readonly retries?: number;
  /** Milliseconds before the first retry; doubled each time. Default: 500. */
  readonly retryDelay?: number;
  /** Milliseconds without a byte after which a connection counts as lost. Default: 30000. */
  readonly stallTimeout?: number;
  /** Makes the worker, for bundlers and pages that must say how. Default: `worker.js` beside this module. */
  readonly createWorker?: () => Worker;
}

/** How one reply is generated. */
export interface ReplyOptions extends GenerateOptions {
  /** Stops the reply; it then ends normally, with `finishReason` `"cancelled"`. */
  readonly signal?: AbortSignal;
  /** Hears how far the prompt is computed. */
  readonly onPrefill?: (prefill: Prefill) => void;
}

/** How a conversation is answered. */
export interface ChatOptions extends ReplyOptions {
  /** How the messages are put into the model's chat template. */
  readonly template?: TemplateOptions;
}

/**
 * A reply as it is generated: iterate over its pieces, or await `text()`. Leaving the loop early stops
 * the engine. Pieces that nobody has asked for yet are kept.
 */
export class Reply implements AsyncIterableIterator<Piece, undefined> {
  /** How the reply ended; rejects if it failed. */
  readonly summary: Promise<Summary>;
  readonly #stop: () => void;
  readonly #ready: Piece[] = [];
  #ended = false;
  #wake: () => void = () => {};

  /** @internal */
  constructor(start: (onPiece: (piece: Piece) => void, signal: AbortSignal) => Promise<Summary>) {
    const controller = new AbortController();
    this.#stop = () => controller.abort();
    const onPiece = (piece: Piece): void => {
      this.#ready.push(piece);
      this.#wake();
    };
    this.summary = start(onPiece, controller.signal).finally(() => {
      this.#ended = true;
      this.#wake();
    });
    // A failure is seen by whoever iterates; it must not also count as unhandled.
    this.summary.catch(() => {});
  }

  async next(): Promise<IteratorResult<Piece, undefined>> {
    for (;;) {
      const piece = this.#ready.shift();
      if (piece !== undefined) return { done: false, value: piece };
      if (this.#ended) {
        await this.summary;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Stops the engine; what was generated stays valid. */
  async return(): Promise<IteratorResult<Piece, undefined>> {
    this.stop();
    this.#ready.length = 0;
    await this.summary.catch(() => {});
    return { done: true, value: undefined };
  }

  /** Asks the engine to stop. The iteration then ends normally. */
  stop(): void {
    this.#stop();
  }

  /** The whole text, once it is there. */
  async text(): Promise<string> {
    let text = "";
    for await (const piece of this) text += piece.text;
    return text;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** A loaded model in its worker. */
export class Engine {
  /** What was loaded. */
  readonly info: ModelInfo;
  /** Which build runs. */
  readonly flavour: Flavour;
  readonly #caller: Caller;
  readonly #shut: (error: EngineError) => void;

  private constructor(info: ModelInfo, flavour: Flavour, caller: Caller, shut: (error: EngineError) => void) {
    this.info = info;
    this.flavour = flavour;
    this.#caller = caller;
    this.#shut = shut;
  }

  /**
   * Loads a model into a new worker.
   *
   * @throws {EngineError} with a code; the worker and all of its memory are gone then.
   */
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<Engine> {
    const {
      onProgress,
      onWarning,
      signal,
      cache = "default",
      sha256,
      verify = false,
      flavour,
      hub = "https://huggingface.co",
      headers = {},
      retries = 5,
      retryDelay = 500,
      stallTimeout = 30_000,
      createWorker = platform.createWorker,
      ...engine
    } = options;
    if (signal?.aborted) throw cancelled(signal);
    const plain = await plainSource(source);
    const { worker, caller, shut } = open(createWorker);
    try {
      const transfer = {
        cache,
        sha256: text("sha256", sha256)?.toLowerCase() ?? null,
        verify,
        hub,
        headers,
        retries,
        retryDelay,
        stallTimeout,
      };
      const { info, flavour: chosen } = await caller.call(
        "load",
        { source: plain, engine, transfer, flavour: flavour ?? null },
        (event) => {
          if ("progress" in event) onProgress?.(event.progress);
          else onWarning?.(EngineError.fromRecord(event.warning));
        },
        signal,
      );
      return new Engine(info, chosen, caller, shut);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** Continues `prompt`: text, or token ids taken as they are. */
  generate(prompt: string | readonly number[] | Prompt, options: ReplyOptions = {}): Reply {
    if (typeof prompt === "string") return this.#reply({ text: prompt }, options);
    if (isTokens(prompt)) return this.#reply({ tokens: prompt }, options);
    return this.#reply(prompt, options);
  }

  /** Answers a conversation. A next turn that repeats the messages computes only what is new. */
  chat(messages: readonly Message[], options: ChatOptions = {}): Reply {
    const { template, ...rest } = options;
    return this.#reply(template === undefined ? { messages } : { messages, template }, rest);
  }

  #reply(prompt: Prompt, { signal, onPrefill, ...options }: ReplyOptions): Reply {
    return new Reply((onPiece, stopped) => {
      const both = signal === undefined ? stopped : AbortSignal.any([signal, stopped]);
      return this.#caller.call(
        "generate",
        { prompt, options },
        (event) => {
          if ("piece" in event) onPiece(event.piece);
          else onPrefill?.(event.prefill);
        },
        both,
      );
    });
  }

  /** Token ids of `text`. Control tokens spelt in it are read as such only if `special`. */
  tokenize(text: string, { special = false }: { readonly special?: boolean } = {}): Promise<number[]> {
    return this.#caller.call("tokenize", { text, special });
  }

  /** Text of token ids. */
  detokenize(tokens: readonly number[]): Promise<string> {
    return this.#caller.call("detokenize", { tokens });
  }

  /** Token ids of a conversation, as `chat` would feed them. */
  chatTokens(messages: readonly Message[], options: TemplateOptions = {}): Promise<number[]> {
    return this.#caller.call("template", { messages, options });
  }

  /** The pooled, normalised embedding of a text, or of token ids taken as they are. */
  embed(text: string | readonly number[]): Promise<Float32Array> {
    return this.#caller.call("embed", { text });
  }

  /**
   * The logits of every token of a sequence, row by row: as many as the vocabulary for each. For comparisons with other
   * implementations, with `kv: "f32"` and `exactInputs`.
   */
  logits(tokens: readonly number[]): Promise<Float32Array> {
    return this.#caller.call("logits", { tokens });
  }

  /**
   * SHA-256, in hex, of all logits of a fixed prompt. Machines with the same fingerprint of a model give the same answers;
   * `ternlight fingerprint` prints it, too.
   */
  fingerprint(): Promise<string> {
    return this.#caller.call("fingerprint", null);
  }

  /** Memory in use. */
  memory(): Promise<MemoryUse> {
    return this.#caller.call("memory", null);
  }

  /** Ends the worker and frees everything. Whatever is pending rejects with code `closed`. */
  async close(): Promise<void> {
    this.#shut(new EngineError("closed", "the engine was closed"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function isTokens(prompt: readonly number[] | Prompt): prompt is readonly number[] {
  return Array.isArray(prompt);
}

function open(createWorker: () => Worker): {
  worker: Worker;
  caller: Caller;
  shut: (error: EngineError) => void;
} {
  try {
    const worker = createWorker();
    const caller = new Caller(worker, () => worker.terminate());
    const shut = (error: EngineError): void => {
      worker.terminate();
      caller.fail(error);
    };
    worker.addEventListener("error", (event) => {
      // Seen here: the console need not report it as uncaught.
      event.preventDefault();
      // Scripts that cannot be fetched give an event without a message.
      shut(new EngineError("crashed", event.message || "the worker's script could not be loaded"));
    });
    worker.addEventListener("messageerror", () => {
      shut(new EngineError("crashed", "a message of the worker could not be read"));
    });
    return { worker, caller, shut };
  } catch (thrown) {
    throw new EngineError("unsupported-browser", `no worker could be made: ${String(thrown)}`);
  }
}

async function plainSource(source: ModelSource): Promise<PlainSource> {
  if (typeof source === "string" || source instanceof URL) {
    const files = await platform.files(String(source));
    if (files !== null) return { kind: "files", files: files.map(plainFile) };
  }
  if (typeof source === "string") {
    return {
      kind: "reference",
      reference: source.startsWith("hf:") ? source : absolute(source),
    };
  }
  if (source instanceof URL) return { kind: "reference", reference: source.href };
  if (source instanceof Blob) return { kind: "files", files: [plainFile(source)] };
  // JavaScript may pass anything.
  const files: unknown = source?.files;
  if (!Array.isArray(files)) {
    throw new EngineError("bad-source", "a model source is an address, a Blob or { files: […] }");
  }
  return { kind: "files", files: source.files.map(plainFile) };
}

function plainFile(file: FileSource | Blob): PlainFile {
  if (file instanceof Blob) {
    return { name: file instanceof File ? file.name : null, url: null, blob: file, sha256: null };
  }
  const { name, url, blob, sha256 } = file ?? {};
  if (blob !== undefined && !(blob instanceof Blob)) {
    throw new EngineError("bad-source", "the blob of a file is not a Blob");
  }
  return {
    name: text("name", name) ?? (blob instanceof File ? blob.name : null),
    url: url === undefined ? null : absolute(url),
    blob: blob ?? null,
    sha256: text("sha256", sha256)?.toLowerCase() ?? null,
  };
}

/** Text from a caller that may be JavaScript. */
function text(what: string, value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw new EngineError("bad-option", `${what} is not text`);
  return value;
}
