/**
 * The whole protocol between page and worker, and its two generic halves.
 *
 * A call has an id, one request, any number of events, and exactly one end (result or error). Requests,
 * replies and handlers are mapped types of {@link Calls}: adding a line there fails to compile in both
 * halves until both are done. Payload types come from Rust through the generated declarations.
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
import { EngineError, type ErrorRecord, messageOf } from "./errors.js";

/** Which build of the engine runs. */
export type Flavour = "simd128" | "relaxed" | "threads";

/** How cached copies are used. */
export type CacheMode =
  /** A complete copy is used without asking the network; else download and store. */
  | "default"
  /** Ask the server whether the copy is current; without a connection, use it. */
  | "revalidate"
  /** Download anew; the old copy stays until the new one is complete. */
  | "reload"
  /** Neither read nor write the cache. */
  | "none";

/** One file of a model. */
export interface FileSource {
  /** Name, as in a model folder (`model.safetensors`); default: from the address or the `File`. */
  readonly name?: string;
  /** Where to fetch it. Either this or `blob`. */
  readonly url?: string | URL;
  /** Its content. */
  readonly blob?: Blob;
  /** Expected SHA-256, in hex. */
  readonly sha256?: string;
}

/** What of a model source survives `postMessage`: URLs are strings, relative ones resolved. */
export type PlainSource =
  | { readonly kind: "reference"; readonly reference: string }
  | { readonly kind: "files"; readonly files: readonly PlainFile[] };

/** A {@link FileSource} with its URL as a string. */
export interface PlainFile {
  readonly name: string | null;
  readonly url: string | null;
  readonly blob: Blob | null;
  readonly sha256: string | null;
}

/** How bytes are obtained. */
export interface TransferOptions {
  readonly cache: CacheMode;
  readonly sha256: string | null;
  readonly verify: boolean;
  readonly hub: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly retries: number;
  readonly retryDelay: number;
  readonly stallTimeout: number;
}

/** What a load is doing, and how far it is. */
export interface Progress {
  /** `prepare` sets up the weights after the last byte. */
  readonly phase: "resolve" | "wait" | "cache" | "download" | "file" | "prepare";
  /** The file in work. */
  readonly file: string;
  /** Its index, and how many there are. */
  readonly fileIndex: number;
  readonly fileCount: number;
  /** Bytes taken in, of all files. */
  readonly loaded: number;
  /** Bytes of all files, once known. */
  readonly total: number | null;
  /** Bytes per second, over the last seconds. */
  readonly rate: number;
  /** Seconds left at that rate. */
  readonly secondsLeft: number | null;
  /** Times the connection was lost and taken up again. */
  readonly retries: number;
}

/** Memory of the engine, in bytes. */
export interface MemoryUse {
  /** WebAssembly memory of the worker. It never shrinks before `close`. */
  readonly wasm: number;
}

/** name: [params, event, result] — the whole protocol. */
export interface Calls {
  load: [
    params: {
      source: PlainSource;
      engine: EngineOptions;
      transfer: TransferOptions;
      flavour: Flavour | null;
    },
    event: { progress: Progress } | { warning: ErrorRecord },
    result: { info: ModelInfo; flavour: Flavour },
  ];
  generate: [
    params: { prompt: Prompt; options: GenerateOptions },
    event: { prefill: Prefill } | { piece: Piece },
    result: Summary,
  ];
  tokenize: [params: { text: string; special: boolean }, event: never, result: number[]];
  detokenize: [params: { tokens: readonly number[] }, event: never, result: string];
  template: [
    params: { messages: readonly Message[]; options: TemplateOptions },
    event: never,
    result: number[],
  ];
  embed: [params: { text: string | readonly number[] }, event: never, result: Float32Array];
  logits: [params: { tokens: readonly number[] }, event: never, result: Float32Array];
  fingerprint: [params: null, event: never, result: string];
  memory: [params: null, event: never, result: MemoryUse];
}

/** Name of a call. */
export type Call = keyof Calls;
export type Params<K extends Call> = Calls[K][0];
export type Event<K extends Call> = Calls[K][1];
export type Result<K extends Call> = Calls[K][2];

type RequestOf<K extends Call> = { id: number; call: K; params: Params<K> };
type ReplyOf<K extends Call> = { id: number; call: K } & (
  | { type: "event"; event: Event<K> }
  | { type: "result"; result: Result<K> }
  | { type: "error"; error: ErrorRecord }
);
/** Page → worker. */
export type Request = { [K in Call]: RequestOf<K> }[Call] | { id: number; call: "cancel" };
/** Worker → page. */
export type Reply = { [K in Call]: ReplyOf<K> }[Call];

/** What a handler is given besides its parameters. */
export interface Context<K extends Call> {
  emit(event: Event<K>): void;
  readonly signal: AbortSignal;
}
/** The worker's half: one function for each call. */
export type Handlers = { [K in Call]: (params: Params<K>, context: Context<K>) => Promise<Result<K>> };

/** A `Worker`, a `MessagePort`, or a worker's own scope. */
export interface Endpoint {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

/** Answers requests on `endpoint` with `handlers`. `fatal` hears errors without a code: the engine is dead. */
export function serve(endpoint: Endpoint, handlers: Handlers, fatal: (thrown: unknown) => void): void {
  const running = new Map<number, AbortController>();
  const post = (reply: Reply): void => endpoint.postMessage(reply);

  async function answer<K extends Call>({ id, call, params }: RequestOf<K>): Promise<void> {
    const controller = new AbortController();
    running.set(id, controller);
    const reply = (body: ReplyBody<K>): void => endpoint.postMessage({ id, call, ...body });
    try {
      const handler: Handlers[K] = handlers[call];
      const result = await handler(params, {
        emit: (event) => reply({ type: "event", event }),
        signal: controller.signal,
      });
      reply({ type: "result", result });
    } catch (thrown) {
      if (thrown instanceof EngineError) {
        post({ id, call, type: "error", error: thrown.toJSON() });
      } else {
        post({
          id,
          call,
          type: "error",
          error: { code: "crashed", message: messageOf(thrown), status: null },
        });
        fatal(thrown);
      }
    } finally {
      running.delete(id);
    }
  }

  endpoint.addEventListener("message", (message) => {
    if (!isOurs(message.data)) return;
    const request: Request = message.data;
    if (request.call === "cancel") running.get(request.id)?.abort();
    else void answer(request);
  });
}

/** Whether a message is of this protocol: a worker made by `createWorker` may have other things to say. */
function isOurs(data: unknown): data is Request & Reply {
  return typeof data === "object" && data !== null && "call" in data && "id" in data;
}

type ReplyBody<K extends Call> = { type: "event"; event: Event<K> } | { type: "result"; result: Result<K> };

interface Pending<K extends Call> {
  onEvent: (event: Event<K>) => void;
  resolve: (result: Result<K>) => void;
  reject: (error: EngineError) => void;
}

/** More than the engine accepts of any option, and far less than a stack holds. */
const MOST_LEVELS = 160;

function checkDepth(value: unknown, levels: number): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  if (levels === 0) throw new Error("nested too deeply");
  const items = value instanceof Map || value instanceof Set ? value : Object.values(value);
  for (const item of items) checkDepth(item, levels - 1);
}

/** The page's half: sends requests, and settles each with the worker's answer or with `fail`. */
export class Caller {
  readonly #endpoint: Endpoint;
  readonly #pending: { [K in Call]: Map<number, Pending<K>> } = {
    load: new Map(),
    generate: new Map(),
    tokenize: new Map(),
    detokenize: new Map(),
    template: new Map(),
    embed: new Map(),
    logits: new Map(),
    fingerprint: new Map(),
    memory: new Map(),
  };
  readonly #onCrash: (error: EngineError) => void;
  #lastId = 0;
  #dead: EngineError | null = null;

  constructor(endpoint: Endpoint, onCrash: (error: EngineError) => void) {
    this.#endpoint = endpoint;
    this.#onCrash = onCrash;
    endpoint.addEventListener("message", (message) => {
      if (!isOurs(message.data)) return;
      const reply: Reply = message.data;
      this.#settle(reply);
    });
  }

  /** Sends a request. An aborted `signal` tells the worker, whose answer still ends the call. */
  call<K extends Call>(
    call: K,
    params: Params<K>,
    onEvent: (event: Event<K>) => void = () => {},
    signal?: AbortSignal,
  ): Promise<Result<K>> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    const id = ++this.#lastId;
    const cancel = (): void => this.#endpoint.postMessage({ id, call: "cancel" } satisfies Request);
    const result = new Promise<Result<K>>((resolve, reject) => {
      this.#pending[call].set(id, { onEvent, resolve, reject });
    });
    try {
      // A worker cannot read a message that is nested too deeply, nor say whose it was.
      checkDepth(params, MOST_LEVELS);
      this.#endpoint.postMessage({ id, call, params } satisfies RequestOf<K>);
    } catch (thrown) {
      this.#pending[call].delete(id);
      return Promise.reject(new EngineError("bad-option", `${call}: ${messageOf(thrown)}`));
    }
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    return result.finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** Rejects everything that is pending and everything that follows. */
  fail(error: EngineError): void {
    if (this.#dead !== null) return;
    this.#dead = error;
    for (const map of Object.values(this.#pending)) {
      for (const pending of map.values()) pending.reject(error);
      map.clear();
    }
  }

  #settle<K extends Call>(reply: ReplyOf<K>): void {
    const map: Map<number, Pending<K>> = this.#pending[reply.call];
    const pending = map.get(reply.id);
    if (pending === undefined) return;
    if (reply.type === "event") {
      pending.onEvent(reply.event);
      return;
    }
    map.delete(reply.id);
    if (reply.type === "result") {
      pending.resolve(reply.result);
      return;
    }
    const error = EngineError.fromRecord(reply.error);
    pending.reject(error);
    if (error.code === "crashed") {
      this.fail(error);
      this.#onCrash(error);
    }
  }
}
