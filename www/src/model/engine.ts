/**
 * The model in use: loading it, asking it, and letting it go. Nothing else of the page starts or ends an engine.
 *
 * `model` is what the page draws. Invariant: at most one engine is alive, and a load that was overtaken by another one
 * changes nothing any more.
 */

import { signal } from "@preact/signals";
import {
  cache,
  Engine,
  EngineError,
  type Message,
  type ModelInfo,
  type ModelSource,
  type Progress,
} from "ternlight";
import { keepEngine, touch } from "../offline/install";
import type { ReplyFigures, ReplyToken } from "../state/messages";
import { type Settings, settings } from "../state/settings";
import { adviceFor } from "../text/errors";
import { announce } from "../ui/announce";
import { notify } from "../ui/Notice";
import { cachedModels, refreshCachedModels } from "./cachedModels";
import { addressOf, type Choice, nameOf, OFFERS, offered, requested } from "./catalogue";

export interface Failure {
  code: string;
  message: string;
}

export interface Model {
  state: "idle" | "loading" | "ready" | "failed";
  name: string;
  /** The address it comes from; null for files from the disk. */
  source: string | null;
  /** Bytes to fetch, where known. */
  size: number | null;
  progress: Progress | null;
  trouble: Failure | null;
  info: ModelInfo | null;
  /** The engine settings it was loaded with. */
  running: { threads: number; context: number } | null;
}

function idle(choice: Choice): Model {
  const source = "source" in choice.from ? choice.from.source : null;
  return {
    state: "idle",
    name: choice.name,
    source,
    size: choice.size,
    progress: null,
    trouble: null,
    info: null,
    running: null,
  };
}

/** A default this small is loaded without being asked for. */
const UNASKED = 16_000_000;
const LAST = "model";

/** The address of the page decides, then the last visit, then the page. */
function first(): Choice {
  const wanted = requested();
  if (wanted) return offered(wanted);
  try {
    const source = localStorage.getItem(LAST);
    if (source) return offered(source);
  } catch {
    // No storage, no memory of the last model.
  }
  return offered(OFFERS[0].source);
}

let choice = first();
export const model = signal<Model>(idle(choice));
export const engine = signal<Engine | null>(null);
/** Bytes the engine occupies; null while there is none. */
export const memory = signal<number | null>(null);

let loading: { promise: Promise<void>; abort: AbortController } | null = null;

/** A question that waited for a model that did not come; the load itself shows why. */
export class LoadFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof EngineError) return { code: error.code, message: error.message };
  if (error instanceof Error)
    return { code: error.name === "AbortError" ? "cancelled" : "unknown", message: error.message };
  return { code: "unknown", message: String(error) };
}

async function load(wanted: Choice): Promise<void> {
  loading?.abort.abort();
  choice = wanted;
  const abort = new AbortController();
  const current = () => !abort.signal.aborted;
  model.value = { ...idle(wanted), state: "loading" };
  announce(`Loading ${wanted.name}`);
  const promise = run();
  loading = { promise, abort };
  await promise;

  async function run(): Promise<void> {
    const { threads, context } = settings.value;
    try {
      await unload();
      const next = await Engine.load(origin(wanted.from), {
        ...("sha256" in wanted.from && wanted.from.sha256 ? { sha256: wanted.from.sha256 } : {}),
        threads,
        ...(context > 0 ? { context } : {}),
        signal: abort.signal,
        onProgress: (progress) => {
          if (current()) model.value = { ...model.value, progress };
        },
        onWarning: (warning) => {
          if (current()) notify(`${adviceFor(warning.code).title}. ${adviceFor(warning.code).advice}`);
        },
      });
      if (!current()) {
        await next.close();
        return;
      }
      engine.value = next;
      model.value = {
        ...model.value,
        state: "ready",
        name: OFFERS.some((one) => one.name === wanted.name) ? wanted.name : next.info.name || wanted.name,
        progress: null,
        info: next.info,
        running: { threads, context },
      };
      remember(wanted);
      keepEngine();
      announce(`${wanted.name} is ready`);
      void weigh();
      void refreshCachedModels();
    } catch (error) {
      if (!current()) return;
      const failure = failureOf(error);
      model.value =
        failure.code === "cancelled"
          ? idle(wanted)
          : { ...model.value, state: "failed", progress: null, trouble: failure };
    } finally {
      if (loading?.abort === abort) loading = null;
    }
  }
}

/** What the package is told to load. */
function origin(from: Choice["from"]): ModelSource {
  if ("files" in from) return { files: from.files };
  const { source, parts } = from;
  if (!parts) return source;
  return { files: parts.map((name) => ({ name, url: new URL(source + name, document.baseURI) })) };
}

function remember({ from }: Choice): void {
  try {
    if ("source" in from) localStorage.setItem(LAST, from.source);
  } catch {
    // The next visit starts with the default.
  }
}

async function unload(): Promise<void> {
  const old = engine.value;
  engine.value = null;
  memory.value = null;
  await old?.close();
}

export function loadSource(source: string): Promise<void> {
  touch();
  // A model that someone chose should outlive a full disk.
  void cache.persist();
  return load(offered(source));
}

export function loadFile(files: File[]): Promise<void> {
  touch();
  const main = files.find((file) => /\.(?:gguf|safetensors)$/i.test(file.name)) ?? files[0];
  const size = files.reduce((sum, file) => sum + file.size, 0);
  return load({ name: nameOf(main?.name ?? "Model"), size, from: { files } });
}

export const retryLoad = (): void => void load(choice);
export const reload = (): Promise<void> => load(choice);

export function cancelLoad(): void {
  loading?.abort.abort();
  loading = null;
  model.value = idle(choice);
}

/** Resolves when a model can answer; starts loading the chosen one if nothing is under way. */
export async function ensureReady(signal: AbortSignal): Promise<void> {
  touch();
  const stopped = new Promise<never>((_, reject) => {
    const give = () => reject(new DOMException("Stopped", "AbortError"));
    if (signal.aborted) give();
    signal.addEventListener("abort", give);
  });
  // A load may be overtaken by another one; what counts is the last.
  while (!engine.value) {
    await Promise.race([loading?.promise ?? load(choice), stopped]);
    const { state, trouble }: Model = model.value;
    if (trouble) throw new LoadFailed(trouble);
    if (state === "idle") throw new DOMException("Stopped", "AbortError");
  }
}

/** Asks the engine what it occupies. */
export async function weigh(): Promise<void> {
  try {
    memory.value = (await engine.value?.memory())?.wasm ?? null;
  } catch {
    memory.value = null;
  }
}

export interface Listener {
  onReading: (done: number, total: number) => void;
  onPiece: (text: string, tokens: ReplyToken[]) => void;
}

/** Asks the model, and tells `listener` what comes. Ends normally when `signal` stops it. */
export async function answer(
  messages: readonly Message[],
  how: Settings,
  signal: AbortSignal,
  listener: Listener,
): Promise<ReplyFigures> {
  const running = engine.value;
  if (!running) throw new EngineError("closed", "no model is loaded");
  const system = how.system.trim();
  const reply = running.chat(system ? [{ role: "system", content: system }, ...messages] : messages, {
    maxTokens: how.maxTokens,
    temperature: how.temperature,
    topK: how.topK,
    topP: how.topP,
    minP: how.minP,
    repetitionPenalty: how.repetitionPenalty,
    ...(how.seed === null ? {} : { seed: how.seed }),
    topLogprobs: how.probabilities ? 5 : 0,
    signal,
    onPrefill: ({ done, total }) => listener.onReading(done, total),
  });
  const weighing = setInterval(() => void weigh(), 2000);
  try {
    for await (const { text, tokens } of reply) {
      const spoken = tokens.map((token) => ({
        text: token.text,
        logprob: token.logprob,
        top: token.top.map((other) => ({ text: other.text, logprob: other.logprob })),
      }));
      listener.onPiece(text, spoken);
    }
    const { promptTokens, cachedTokens, tokens, finishReason, timings } = await reply.summary;
    return {
      promptTokens,
      cachedTokens,
      tokens,
      prefillTokensPerSecond: timings.prefillTokensPerSecond,
      decodeTokensPerSecond: timings.decodeTokensPerSecond,
      finish: finishReason,
    };
  } catch (error) {
    const { code } = failureOf(error);
    const replaced = engine.value !== running;
    if (replaced && code === "closed") throw new DOMException("Another model was chosen", "AbortError");
    // A trapped engine is gone for good; the next question loads a new one.
    if (!replaced && code === "crashed") {
      await unload();
      model.value = idle(choice);
    }
    throw error;
  } finally {
    clearInterval(weighing);
    void weigh();
  }
}

/** At the start: what is here already, or small, is loaded at once; a large download waits to be wanted. */
export async function begin(): Promise<void> {
  await refreshCachedModels();
  if (model.value.state !== "idle" || !("source" in choice.from)) return;
  const address = addressOf(choice.from.source);
  const here = cachedModels.value?.some((one) => one.address === address && one.complete) ?? false;
  if (here || (choice.size !== null && choice.size <= UNASKED)) await load(choice);
}
