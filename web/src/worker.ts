/**
 * The worker: owns the one wasm instance, its engine and its session.
 *
 * One piece of work at a time runs in wasm, in the order it was asked for; between two steps of a reply
 * the worker listens, so that "stop" is heard within one block of the prompt or one token.
 *
 * Invariant: after a trap nothing is called in the instance again; the page ends the worker.
 */
import type {
  EngineOptions,
  ModelInfo,
  Session,
  Engine as WasmEngine,
} from "../generated/simd128/ternlight.js";
import { type Glue, guarded, type Instance, WasmBlockLoader } from "./blocks.js";
import { Store } from "./cache.js";
import { cancelled, EngineError, messageOf } from "./errors.js";
import { yieldToEvents } from "./events.js";
import { supported } from "./flavour.js";
import { Meter } from "./progress.js";
import { type Context, type Flavour, type Handlers, type Params, type Result, serve } from "./protocol.js";
import { resolve } from "./source.js";
import { transfer } from "./transfer.js";

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
  detokenize: ({ tokens }) => inTurn(async () => guarded(() => engine().detokenize(tokens))),
  template: ({ messages, options }) =>
    inTurn(async () => Array.from(guarded(() => engine().chatTokens({ messages, template: options })))),
  embed: ({ text }) => inTurn(async () => guarded(() => engine().embed(text))),
  logits: ({ tokens }) => inTurn(async () => guarded(() => engine().logits(tokens))),
  fingerprint: () => inTurn(async () => guarded(() => engine().fingerprint())),
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
  { source, engine: options, transfer: how, flavour }: Params<"load">,
  { emit, signal }: Context<"load">,
): Promise<Result<"load">> {
  const meter = new Meter((progress) => emit({ progress }));
  const warn = (warning: EngineError): void => emit({ warning: warning.toJSON() });
  meter.enter("resolve", null);
  const [started, store] = await Promise.all([start(flavour, options), openStore(how.cache, warn)]);
  const { instance } = started;
  const files = await resolve(source, { store, transfer: how, signal });
  meter.expect(files);
  const makeLoader = () => new WasmBlockLoader(instance, () => new instance.glue.EngineLoader(options));
  const blocks = await transfer(files, makeLoader, {
    store,
    transfer: how,
    signal,
    onPhase: (phase, part) => meter.enter(phase, part),
    onTotal: (part, total) => meter.total(part, total),
    onBytes: (count) => meter.add(count),
    onRestart: () => meter.restart(),
    onRetry: () => meter.retry(),
    onWarning: warn,
  });
  meter.enter("prepare", null);
  await yieldToEvents();
  blocks.freeSpace();
  if (signal.aborted) {
    guarded(() => blocks.loader.free());
    throw cancelled(signal);
  }
  const engine = guarded(() => blocks.loader.finish());
  const session = guarded(() => engine.session());
  const info: ModelInfo = guarded(() => engine.info());
  loaded = { instance, engine, session };
  return { info, flavour: started.flavour };
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

/**
 * Instantiates the best build that works here, with its threads.
 *
 * @throws {EngineError} `bad-option` before anything is fetched but the build.
 */
async function start(
  wanted: Flavour | null,
  options: EngineOptions,
): Promise<{ instance: Instance; flavour: Flavour }> {
  let reason = "it lacks WebAssembly SIMD";
  for (const flavour of supported()) {
    if (wanted === null ? flavour === "threads" && options.threads === 1 : flavour !== wanted) continue;
    try {
      const glue = await glueOf(flavour);
      const { memory } = await glue.default();
      const workers = guarded(() => glue.startPool(options, navigator.hardwareConcurrency));
      await startThreads(memory, workers);
      return { instance: { glue, memory }, flavour };
    } catch (thrown) {
      if (thrown instanceof EngineError) throw thrown;
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
async function startThreads(memory: WebAssembly.Memory, count: number): Promise<void> {
  const arrivals = Array.from({ length: count }, (_, index) => {
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
    await yieldToEvents();
  }
}
