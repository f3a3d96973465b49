/**
 * The model in use: loading it, replacing it, and letting it go. Nothing else of the page starts or ends an engine.
 *
 * `model` is the one that answers, or would; `incoming` is another one on its way, or one that did not come. Invariants:
 * the model that works stays until another one answers, a load that was overtaken changes nothing any more, and an engine
 * is closed only when nobody uses it.
 */

import { signal } from "@preact/signals";
import { cache, Engine, EngineError, type ModelInfo, type ModelSource, type Progress } from "ternlight";
import { keepEngine, touch } from "../offline/install";
import { type Settings, settings } from "../state/settings";
import { adviceFor, type PageErrorCode } from "../text/errors";
import { announce } from "../ui/announce";
import { notify } from "../ui/Notice";
import { cachedModels, refreshCachedModels } from "./cachedModels";
import { addressOf, type Choice, hostOf, nameOf, OFFERS, offered, requested } from "./catalogue";

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
/** More than this is fetched only after a question. */
const UNCONFIRMED = 200_000_000;
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

/** The last model that worked; before one did, the one the visit began with. */
let choice = first();
/** What the last load was of. */
let attempted = choice;
export const model = signal<Model>(idle(choice));
export const incoming = signal<Model | null>(null);
export const engine = signal<Engine | null>(null);
/** Bytes the engine occupies; null while there is none. */
export const memory = signal<number | null>(null);
/** A download that waits for a yes. */
export const question = signal<{
  choice: Choice;
  host: string | null;
  answer: (yes: boolean) => void;
} | null>(null);

let loading: { promise: Promise<void>; abort: AbortController } | null = null;
const users = new WeakMap<Engine, Set<Promise<unknown>>>();

/** Keeps `used` from being closed until `work` settles. */
export function whileUsed<T>(used: Engine, work: Promise<T>): Promise<T> {
  const works = users.get(used) ?? new Set();
  users.set(used, works.add(work));
  const end = () => works.delete(work);
  work.then(end, end);
  return work;
}

async function release(old: Engine | null): Promise<void> {
  if (!old) return;
  await Promise.allSettled(users.get(old) ?? []);
  await old.close();
}

/** A question that waited for a model that did not come; the load itself shows why. */
export class LoadFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof EngineError || error instanceof PageError)
    return { code: error.code, message: error.message };
  if (error instanceof Error)
    return { code: error.name === "AbortError" ? "cancelled" : "unknown", message: error.message };
  return { code: "unknown", message: String(error) };
}

/** Draws a load where it belongs: beside the model that works, or in place of the one that is not loaded. */
function show(now: Model): void {
  if (engine.value) incoming.value = now;
  else {
    incoming.value = null;
    model.value = now;
  }
}

async function load(wanted: Choice): Promise<void> {
  loading?.abort.abort();
  attempted = wanted;
  const abort = new AbortController();
  show({ ...idle(wanted), state: "loading" });
  announce(`Loading ${wanted.name}`);
  const promise = run(wanted, abort);
  loading = { promise, abort };
  await promise;
}

async function run(wanted: Choice, abort: AbortController): Promise<void> {
  const { threads, context } = settings.value;
  const current = () => !abort.signal.aborted;
  try {
    if (!(await allowed(wanted, abort.signal))) throw new DOMException("Not wanted", "AbortError");
    const next = await fetched(wanted, { threads, context }, abort.signal);
    if (!current()) {
      await next.close();
      return;
    }
    const old = engine.value;
    engine.value = next;
    incoming.value = null;
    choice = wanted;
    model.value = {
      ...idle(wanted),
      state: "ready",
      name: OFFERS.some((one) => one.name === wanted.name) ? wanted.name : next.info.name || wanted.name,
      info: next.info,
      running: { threads, context },
    };
    void release(old);
    remember(wanted);
    keepEngine();
    announce(`${wanted.name} is ready`);
    void weigh();
    void refreshCachedModels();
  } catch (error) {
    if (!current()) return;
    const failure = failureOf(error);
    if (failure.code === "cancelled") withdraw();
    else show({ ...idle(wanted), state: "failed", trouble: failure });
  } finally {
    if (loading?.abort === abort) loading = null;
  }
}

/** Asks before a large download, and before one from a host that only the page's address named. */
async function allowed(wanted: Choice, signal: AbortSignal): Promise<boolean> {
  if (!("source" in wanted.from)) return true;
  const { source } = wanted.from;
  await refreshCachedModels();
  if (cachedSource(wanted)) return true;
  const host = hostOf(source);
  const borrowed = host !== null && source === requested();
  if (!borrowed && (wanted.size ?? 0) <= UNCONFIRMED) return true;
  const yes = await new Promise<boolean>((answer) => {
    signal.addEventListener("abort", () => answer(false));
    question.value = { choice: wanted, host, answer };
  });
  question.value = null;
  return yes;
}

/**
 * Loads a model. Where not one byte comes, that is said at once: trying for longer, as after an interruption, would only
 * keep the person waiting.
 */
async function fetched(
  wanted: Choice,
  { threads, context }: Pick<Settings, "threads" | "context">,
  signal: AbortSignal,
): Promise<Engine> {
  const source = await whereabouts(wanted);
  let loaded = 0;
  let received = false;
  const attempt = (retries: number) =>
    Engine.load(source, {
      ...("sha256" in wanted.from && wanted.from.sha256 ? { sha256: wanted.from.sha256 } : {}),
      threads,
      ...(context > 0 ? { context } : {}),
      retries,
      signal,
      onProgress: (progress) => {
        received ||= progress.phase === "download" && progress.loaded > loaded;
        loaded = progress.loaded;
        if (!signal.aborted) show({ ...idle(wanted), state: "loading", progress });
      },
      onWarning: (warning) => {
        if (!signal.aborted) notify(`${adviceFor(warning.code).title}. ${adviceFor(warning.code).advice}`);
      },
    });
  try {
    return await attempt(1);
  } catch (error) {
    if (!(error instanceof EngineError) || signal.aborted) throw error;
    const { code, status } = error;
    if (code === "network" && !navigator.onLine) throw new PageError("offline", error.message);
    if (code === "network" && !received) throw new PageError("unreachable", error.message);
    if (code === "network" || (code === "http" && (status === 429 || (status ?? 0) >= 500)))
      return attempt(5);
    // Two models may be too much where one is not: the old one makes room, and comes back from the cache if need be.
    if (code === "out-of-memory" && engine.value) {
      await unload();
      return attempt(1);
    }
    throw error;
  }
}

/** What only the page can know about a failed load. */
class PageError extends Error {
  constructor(
    readonly code: PageErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** What the package is told to load. */
async function whereabouts({ from, elsewhere }: Choice): Promise<ModelSource> {
  if ("files" in from) return { files: from.files };
  const { source, parts } = from;
  if (parts) return { files: parts.map((name) => ({ name, url: new URL(source + name, document.baseURI) })) };
  if (!elsewhere) return source;
  return cachedSource({ from, elsewhere }) ?? ((await isHosted(source)) ? source : elsewhere);
}

/** Under which of its addresses this browser has all of a model; null if under none. */
function cachedSource({ from, elsewhere }: Pick<Choice, "from" | "elsewhere">): string | null {
  if ("files" in from) return null;
  const whole = new Set(cachedModels.value?.filter(({ complete }) => complete).map(({ address }) => address));
  if (whole.has(addressOf(from.source))) return from.source;
  return elsewhere && whole.has(addressOf(elsewhere)) ? elsewhere : null;
}

/** Whether this page's host has the file. Hosts may answer with a page of their own instead. */
async function isHosted(source: string): Promise<boolean> {
  if (!navigator.onLine) return true;
  try {
    const answer = await fetch(addressOf(source), { method: "HEAD" });
    const page = (answer.headers.get("Content-Type") ?? "").startsWith("text/html");
    return answer.status !== 404 && answer.status !== 410 && !page;
  } catch {
    return true;
  }
}

function remember({ from }: Choice): void {
  // What an address brought is not what the person chose.
  if (!("source" in from) || from.source === requested()) return;
  try {
    localStorage.setItem(LAST, from.source);
  } catch {
    // The next visit starts with the default.
  }
}

async function unload(): Promise<void> {
  const old = engine.value;
  engine.value = null;
  memory.value = null;
  model.value = idle(choice);
  await release(old);
}

/** After a trap an engine is gone for good; the next question loads a new one. */
export async function discard(dead: Engine): Promise<void> {
  if (engine.value !== dead) return;
  engine.value = null;
  memory.value = null;
  model.value = idle(choice);
  await dead.close();
}

export function loadSource(source: string): Promise<void> {
  touch();
  // A model that someone chose should outlive a full disk.
  void cache.persist();
  return load(offered(source));
}

const WEIGHTS = /\.(?:gguf|safetensors)$/i;

/** The weights among files from the disk. */
export async function weightsAmong(files: readonly File[]): Promise<File | undefined> {
  return files.find((file) => WEIGHTS.test(file.name)) ?? (await looksLikeModel(files));
}

/** Loads files from the disk, if there is a model among them; anything else changes nothing. */
export async function loadFile(files: File[]): Promise<void> {
  touch();
  const main = await weightsAmong(files);
  if (!main) {
    notify(`${files[0]?.name ?? "That"} is no model: those are .gguf or .safetensors files.`);
    return;
  }
  const size = files.reduce((sum, file) => sum + file.size, 0);
  await load({ name: nameOf(main.name), size, from: { files } });
}

async function looksLikeModel(files: readonly File[]): Promise<File | undefined> {
  for (const file of files) if ((await file.slice(0, 4).text()) === "GGUF") return file;
  return undefined;
}

export const retryLoad = (): void => void load(attempted);
export const reload = (): Promise<void> => load(choice);

/** The model to go back to when another one does not come; null where that is the same one. */
export function former(): string | null {
  if (engine.value) return model.value.name;
  return attempted === choice ? null : choice.name;
}

/** Gives up what was loading or failed: the model from before is in charge again. */
export function withdraw(): void {
  loading?.abort.abort();
  loading = null;
  incoming.value = null;
  if (!engine.value) model.value = idle(choice);
}

/** Resolves when a model can answer; starts loading the one that worked last if nothing is under way. */
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

/** At the start: what is here already, or small, is loaded at once; a large download waits to be wanted. */
export async function begin(): Promise<void> {
  await refreshCachedModels();
  if (model.value.state !== "idle" || !("source" in choice.from)) return;
  const { source } = choice.from;
  const here = cachedSource(choice) !== null;
  const ours = hostOf(source) === null || source !== requested();
  if (here || (ours && choice.size !== null && choice.size <= UNASKED)) await load(choice);
}
