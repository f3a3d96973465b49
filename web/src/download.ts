/**
 * One file over HTTP, in order, each byte once, across lost connections.
 *
 * A connection that breaks is taken up again with `Range`. The server's answer is believed only if it
 * proves to be of the same version: by strong `ETag`, else by `Last-Modified`, unless the whole file's hash
 * will be checked anyway. `If-Range` asks the server to do that comparison; it is sent to the page's own
 * origin only, since elsewhere it would cost a preflight that file hosts refuse.
 *
 * Invariant: the bytes handed out are a prefix of one version of the file, or {@link Restart} is thrown.
 */
import { cancelled, EngineError, messageOf } from "./errors.js";

/** What identifies a version of a file. */
export interface Version {
  readonly total: number | null;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/** Nothing known. */
export const UNKNOWN: Version = { total: null, etag: null, lastModified: null };

/** The bytes so far cannot be continued: begin again at zero. */
export class Restart extends Error {}

/** A failure that another attempt may cure. */
class Transient extends Error {
  readonly error: EngineError;
  readonly retryAfter: number;
  constructor(error: EngineError, retryAfter = 0) {
    super(error.message);
    this.error = error;
    this.retryAfter = retryAfter;
  }
}

/** How a file is downloaded. */
export interface Job {
  readonly url: string;
  /** Bytes that the caller has already, of version `version`. */
  readonly start: number;
  readonly version: Version;
  /** The whole file's hash is known and will be checked, so a version that cannot be compared will do. */
  readonly hashed: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly retries: number;
  /** Milliseconds. */
  readonly retryDelay: number;
  /** Milliseconds. */
  readonly stallTimeout: number;
  readonly signal: AbortSignal;
  /** An answer was accepted; the next bytes are of this version. */
  onOpen(version: Version): Promise<void>;
  /** The next bytes; the buffer is reused afterwards. */
  onBytes(bytes: Uint8Array): Promise<void>;
  onRetry(error: EngineError): void;
}

const READ_BYTES = 4 << 20;
const LONGEST_WAIT = 20_000;

/**
 * Downloads what is missing of a file.
 *
 * @throws {EngineError} `network`, `http`, `cancelled`
 * @throws {Restart} when the file changed
 */
export async function download(job: Job): Promise<void> {
  let position = job.start;
  let version = job.version;
  let failures = 0;
  while (version.total === null || position < version.total || position === 0) {
    const before = position;
    const attempt = new AbortController();
    const signal = AbortSignal.any([job.signal, attempt.signal]);
    const watch = new Stall(job.stallTimeout, attempt);
    try {
      const response = await request(job, position, version, signal);
      const opened = judge(response, position, version, job);
      if (opened === "end") return;
      version = opened.version;
      let skip = opened.skip;
      await job.onOpen(version);
      for await (const bytes of read(response, watch)) {
        const fresh = bytes.subarray(Math.min(skip, bytes.length));
        skip -= bytes.length - fresh.length;
        if (fresh.length === 0) continue;
        position += fresh.length;
        if (version.total !== null && position > version.total) {
          throw new Restart("more bytes than the server announced");
        }
        watch.pause();
        await job.onBytes(fresh);
      }
      if (version.total === null || position === version.total) return;
      throw lost("the connection closed early");
    } catch (thrown) {
      if (job.signal.aborted) throw cancelled(job.signal);
      if (!(thrown instanceof Transient)) throw thrown;
      failures = position > before ? 1 : failures + 1;
      if (failures > job.retries) throw thrown.error;
      job.onRetry(thrown.error);
      const wait = Math.max(job.retryDelay * 2 ** (failures - 1), thrown.retryAfter);
      await pause(Math.min(wait, LONGEST_WAIT), job.signal);
    } finally {
      watch.pause();
      attempt.abort();
    }
  }
}

/** Small text over HTTP, with the same retries. Null for 404. */
export async function fetchText(
  url: string,
  options: Pick<Job, "headers" | "retries" | "retryDelay" | "stallTimeout" | "signal">,
): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    await download({
      ...options,
      url,
      start: 0,
      version: UNKNOWN,
      hashed: false,
      onOpen: async () => {},
      onBytes: async (bytes) => {
        text += decoder.decode(bytes, { stream: true });
      },
      onRetry: () => {},
    });
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return null;
    if (thrown instanceof Restart)
      throw new EngineError("source-changed", `${url} changed while it was read`);
    throw thrown;
  }
  return text + decoder.decode();
}

/** Whether `url` is there, and which version. Null for 404 and other refusals. */
export async function head(
  url: string,
  options: Pick<Job, "headers" | "signal" | "stallTimeout">,
): Promise<Version | null> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.stallTimeout)]);
  try {
    const response = await fetch(url, {
      method: "HEAD",
      cache: "no-store",
      headers: { ...options.headers },
      signal,
    });
    return response.ok ? versionOf(response) : null;
  } catch (thrown) {
    if (options.signal.aborted) throw cancelled(options.signal);
    throw new EngineError("network", `${url}: ${messageOf(thrown)}`);
  }
}

/** Whether two versions are the same; null if they cannot be compared. */
export function sameVersion(a: Version, b: Version): boolean | null {
  if (a.total !== null && b.total !== null && a.total !== b.total) return false;
  if (a.etag !== null && b.etag !== null) return a.etag === b.etag;
  if (a.lastModified !== null && b.lastModified !== null) return a.lastModified === b.lastModified;
  return null;
}

async function request(job: Job, position: number, version: Version, signal: AbortSignal): Promise<Response> {
  const headers = new Headers({ ...job.headers });
  if (position > 0) {
    headers.set("Range", `bytes=${position}-`);
    const validator = version.etag ?? version.lastModified;
    if (validator !== null && new URL(job.url).origin === location.origin) headers.set("If-Range", validator);
  }
  try {
    // The browser's own cache would keep a second copy.
    return await fetch(job.url, { headers, signal, cache: "no-store" });
  } catch (thrown) {
    throw lost(`${job.url}: ${messageOf(thrown)}`);
  }
}

function judge(
  response: Response,
  position: number,
  version: Version,
  job: Job,
): "end" | { version: Version; skip: number } {
  const { status, headers } = response;
  if (status === 408 || status === 429 || status >= 500) {
    const seconds = Number(headers.get("Retry-After") ?? 0);
    throw new Transient(refusal(response, job), Number.isFinite(seconds) ? seconds * 1000 : 0);
  }
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(headers.get("Content-Range") ?? "");
  if (status === 416 && position > 0) {
    if (Number(range?.[2] ?? Number.NaN) === position && version.total === null) return "end";
    throw new Restart("the file has become shorter");
  }
  if (!response.ok) throw refusal(response, job);
  const answered = versionOf(response);
  if (position === 0) return { version: answered, skip: 0 };

  let now = answered;
  if (status === 206) {
    if (range !== null && Number(range[1]) !== position) throw new Restart("the server sent another range");
    const rest = answered.total;
    const total =
      range?.[2] === undefined || range[2] === "*"
        ? rest === null
          ? null
          : position + rest
        : Number(range[2]);
    now = { ...answered, total };
  }
  const same = sameVersion(version, now);
  if (same === false) throw new Restart("the file has changed");
  if (same === null && !job.hashed) throw new Restart("the server does not say which version this is");
  // A server that ignores `Range` sends everything again: the known beginning is passed over.
  return { version: { ...version, total: version.total ?? now.total }, skip: status === 206 ? 0 : position };
}

function versionOf(response: Response): Version {
  const { headers } = response;
  const encoding = headers.get("Content-Encoding") ?? "identity";
  // Lengths and tags of a compressed answer are not those of the file.
  if (encoding !== "identity") return UNKNOWN;
  const length = headers.get("Content-Length");
  const etag = headers.get("ETag");
  return {
    total: length === null ? null : Number(length),
    // A weak tag does not promise equal bytes.
    etag: etag === null || etag.startsWith("W/") ? null : etag,
    lastModified: headers.get("Last-Modified"),
  };
}

async function* read(response: Response, watch: Stall): AsyncGenerator<Uint8Array, void> {
  if (response.body === null) return;
  for await (const bytes of chunks(response.body, () => watch.start())) yield bytes;
}

/** The bytes of a stream in pieces of at most 4 MB, in one reused buffer where the browser can. */
export async function* chunks(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  beforeRead: () => void,
): AsyncGenerator<Uint8Array, void> {
  let byob: ReadableStreamBYOBReader | null = null;
  try {
    byob = stream.getReader({ mode: "byob" });
  } catch {
    // Not a byte stream here.
  }
  if (byob === null) {
    const reader = stream.getReader();
    for (;;) {
      beforeRead();
      const { done, value } = await reader.read().catch(rethrow);
      if (done) return;
      yield value;
    }
  }
  let buffer = new ArrayBuffer(READ_BYTES);
  for (;;) {
    beforeRead();
    const { done, value } = await byob.read(new Uint8Array(buffer)).catch(rethrow);
    if (done || value === undefined) return;
    yield value;
    buffer = value.buffer;
  }
}

function rethrow(thrown: unknown): never {
  throw lost(messageOf(thrown));
}

function lost(words: string): Transient {
  return new Transient(new EngineError("network", words));
}

function refusal({ status, statusText }: Response, { url }: Job): EngineError {
  return new EngineError("http", `${status} ${statusText} for ${url}`.replace("  ", " "), status);
}

/** Waits, or throws `cancelled`. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(cancelled(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** Aborts a connection over which nothing comes. Does not run while the bytes are worked on. */
class Stall {
  readonly #limit: number;
  readonly #attempt: AbortController;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limit: number, attempt: AbortController) {
    this.#limit = limit;
    this.#attempt = attempt;
    this.start();
  }

  start(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#attempt.abort(new Error(`no byte for ${this.#limit} ms`)),
      this.#limit,
    );
  }

  pause(): void {
    clearTimeout(this.#timer);
  }
}
