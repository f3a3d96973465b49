/**
 * The worker: owns the one wasm instance, its engine and its session.
 *
 * One piece of work at a time runs in wasm, in the order it was asked for; between two steps of a reply
 * the worker listens, so that "stop" is heard within one block of the prompt or one token.
 *
 * Invariant: after a trap nothing is called in the instance again; the page ends the worker.
 */
import type {
  EngineLoader,
  EngineOptions,
  ModelInfo,
  Session,
  Engine as WasmEngine,
} from "../generated/simd128/ternlight.js";
import { Store } from "./cache.js";
import { cancelled, EngineError, messageOf } from "./errors.js";
import { supported } from "./flavour.js";
import {
  type Context,
  type Flavour,
  type Handlers,
  type Params,
  type Progress,
  type Result,
  serve,
} from "./protocol.js";
import { type Glue, guarded, type Instance, WasmSink } from "./sink.js";
import { resolve } from "./source.js";
import { breathe, type Part, stream } from "./weights.js";

declare const self: DedicatedWorkerGlobalScope;

/** What is there once a model is loaded. */
interface Loaded {
  readonly instance: Instance;
  readonly engine: WasmEngine;
  readonly session: Session;
}

let loaded: Loaded | null = null;
/** The end of the work that was asked for last. */
let queue: Promise<unknown> = Promise.resolve();

const handlers: Handlers = {
  load: (params, context) => inTurn(() => load(params, context)),
  generate: (params, context) => inTurn(() => generate(params, context)),
  tokenize: ({ text, special }) =>
    inTurn(async () => Array.from(guarded(() => engine().tokenize(text, special)))),
  detokenize: ({ tokens }) =>
    inTurn(async () => guarded(() => engine().detokenize(Uint32Array.from(tokens)))),
  template: ({ messages, options }) =>
    inTurn(async () => Array.from(guarded(() => engine().chatTokens({ messages, template: options })))),
  embed: ({ text }) => inTurn(async () => guarded(() => engine().embed(text))),
  memory: async () => ({ wasm: current().instance.memory.buffer.byteLength }),
};

serve(self, handlers, () => {});

function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const mine = queue.then(work);
  queue = mine.catch(() => {});
  return mine;
}

function current(): Loaded {
  if (loaded === null) throw new EngineError("closed", "no model is loaded");
  return loaded;
}

function engine(): WasmEngine {
  return current().engine;
}

async function load(
  { source, engine: options, transfer, flavour }: Params<"load">,
  { emit, signal }: Context<"load">,
): Promise<Result<"load">> {
  const meter = new Meter((progress) => emit({ progress }));
  const warn = (warning: EngineError): void => emit({ warning: warning.toJSON() });
  meter.enter("resolve", null);
  const threads = options.threads || navigator.hardwareConcurrency;
  const [started, store] = await Promise.all([start(flavour, threads), openStore(transfer.cache, warn)]);
  const { instance } = started;
  const parts = await resolve(source, { store, transfer, signal });
  meter.expect(parts);
  const sink = await stream(parts, () => new WasmSink(instance, () => makeLoader(instance.glue, options)), {
    store,
    transfer,
    signal,
    onPhase: (phase, part) => meter.enter(phase, part),
    onTotal: (part, total) => meter.total(part, total),
    onBytes: (count) => meter.add(count),
    onRestart: () => meter.restart(),
    onRetry: () => meter.retry(),
    onWarning: warn,
  });
  meter.enter("prepare", null);
  await breathe();
  sink.freeSpace();
  if (signal.aborted) {
    guarded(() => sink.loader.free());
    throw cancelled(signal);
  }
  const engine = guarded(() => sink.loader.finish());
  const session = guarded(() => engine.session());
  const info: ModelInfo = guarded(() => engine.info());
  loaded = { instance, engine, session };
  return { info, flavour: started.flavour };
}

function makeLoader(glue: Glue, options: EngineOptions): EngineLoader {
  return new glue.EngineLoader(options);
}

async function openStore(mode: string, warn: (warning: EngineError) => void): Promise<Store | null> {
  if (mode === "none") return null;
  try {
    return await Store.open();
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    warn(thrown);
    return null;
  }
}

/** Instantiates the best build that works here, with its threads. */
async function start(
  wanted: Flavour | null,
  threads: number,
): Promise<{ instance: Instance; flavour: Flavour }> {
  let reason = "it lacks WebAssembly SIMD";
  for (const flavour of supported()) {
    if (wanted === null ? flavour === "threads" && threads === 1 : flavour !== wanted) continue;
    try {
      const glue = await glueOf(flavour);
      const { memory } = await glue.default();
      if (flavour === "threads") await openCrew(glue, memory, threads);
      return { instance: { glue, memory }, flavour };
    } catch (thrown) {
      reason = `${flavour}: ${messageOf(thrown)}`;
    }
  }
  throw new EngineError("unsupported-browser", `this browser cannot run the engine (${reason})`);
}

// Written out, so that bundlers see them; `threads` may be missing from a build.
function glueOf(flavour: Flavour): Promise<Glue> {
  switch (flavour) {
    case "threads":
      return import(new URL("../generated/threads/ternlight.js", import.meta.url).href);
    case "relaxed":
      return import("../generated/relaxed/ternlight.js");
    case "simd128":
      return import("../generated/simd128/ternlight.js");
  }
}

/** Starts the workers that compute beside this one. They end with it. */
async function openCrew(glue: Glue, memory: WebAssembly.Memory, threads: number): Promise<void> {
  guarded(() => glue.openCrew(threads));
  const arrivals = Array.from({ length: threads - 1 }, (_, index) => {
    const worker = new Worker(new URL("./thread.js", import.meta.url), {
      type: "module",
      name: `ternlight ${index + 1}`,
    });
    return new Promise<void>((resolve, reject) => {
      worker.addEventListener("message", () => resolve(), { once: true });
      worker.addEventListener("error", (event) =>
        reject(new Error(event.message || "a thread did not start")),
      );
      worker.postMessage(memory);
    });
  });
  await Promise.all(arrivals);
}

async function generate(
  { prompt, options }: Params<"generate">,
  { emit, signal }: Context<"generate">,
): Promise<Result<"generate">> {
  const { session } = current();
  guarded(() => session.start(prompt, options));
  for (;;) {
    const step = signal.aborted ? guarded(() => session.cancel()) : guarded(() => session.next());
    switch (step.kind) {
      case "prefill":
        emit({ prefill: step.value });
        break;
      case "piece":
        emit({ piece: step.value });
        break;
      case "done":
        return step.value;
    }
    await breathe();
  }
}

/** Bytes and time of a load, told at most ten times a second. */
class Meter {
  readonly #tell: (progress: Progress) => void;
  #parts: readonly Part[] = [];
  readonly #totals = new Map<Part, number | null>();
  #phase: Progress["phase"] = "resolve";
  #part: Part | null = null;
  #loaded = 0;
  #retries = 0;
  #toldAt = 0;
  /** Times and byte counts of the last seconds. */
  #history: [number, number][] = [];

  constructor(tell: (progress: Progress) => void) {
    this.#tell = tell;
  }

  expect(parts: readonly Part[]): void {
    this.#parts = parts;
    for (const part of parts) this.#totals.set(part, part.bytes);
  }

  enter(phase: Progress["phase"], part: Part | null): void {
    this.#phase = phase;
    this.#part = part ?? this.#part;
    this.#history = [];
    this.#report(performance.now());
  }

  total(part: Part, total: number | null): void {
    if (total !== null) this.#totals.set(part, total);
  }

  add(count: number): void {
    this.#loaded += count;
    const now = performance.now();
    if (now - this.#toldAt >= 100) this.#report(now);
  }

  retry(): void {
    this.#retries++;
    this.#report(performance.now());
  }

  restart(): void {
    this.#loaded = 0;
    this.#history = [];
  }

  #report(now: number): void {
    this.#toldAt = now;
    this.#history.push([now, this.#loaded]);
    while (this.#history.length > 2 && now - (this.#history[0]?.[0] ?? now) > 3000) this.#history.shift();
    const [began, before] = this.#history[0] ?? [now, this.#loaded];
    const rate = now > began ? ((this.#loaded - before) * 1000) / (now - began) : 0;
    let total: number | null = 0;
    for (const bytes of this.#totals.values())
      total = total === null || bytes === null ? null : total + bytes;
    if (this.#totals.size === 0) total = null;
    this.#tell({
      phase: this.#phase,
      file: this.#part?.name ?? "",
      fileIndex: this.#part === null ? 0 : this.#parts.indexOf(this.#part),
      fileCount: this.#parts.length,
      loaded: this.#loaded,
      total,
      rate,
      secondsLeft: total === null || rate === 0 ? null : Math.max(0, total - this.#loaded) / rate,
      retries: this.#retries,
    });
  }
}
