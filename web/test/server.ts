/**
 * A file server that can be told to fail, for tests.
 *
 * `/package/…` is this package as it is published; `/tests/…` the compiled test pages; `/models/…` whatever
 * was put into `models`. Each request of a model uses up one of its faults, then it is served rightly.
 */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export type Fault =
  /** Close the connection after this many bytes of the body. */
  | { kind: "drop"; after: number }
  /** Answer with an error status. */
  | { kind: "status"; status: number; retryAfter?: number }
  /** Announce this length, send what there is. */
  | { kind: "length"; length: number }
  /** Say nothing of the length. */
  | { kind: "chunked" }
  /** Send this many bytes, then nothing. */
  | { kind: "stall"; after: number }
  /** Send everything although a range was asked for. */
  | { kind: "ignore-range" }
  /** No fault this time. */
  | { kind: "none" };

export interface Served {
  bytes: Buffer;
  etag: string | null;
  lastModified: string | null;
  faults: Fault[];
  /** Milliseconds between pieces of 64 kB. */
  delay?: number;
}

export interface Seen {
  method: string;
  path: string;
  range: string | null;
  ifRange: string | null;
  status: number;
}

const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".html": "text/html",
  ".json": "application/json",
  ".map": "application/json",
};
const WEB = fileURLToPath(new URL("../..", import.meta.url));

export class FaultServer {
  readonly models = new Map<string, Served>();
  /** path → file on disk, served without faults: models too large to hold. */
  readonly files = new Map<string, string>();
  /** Requests of models, in order. */
  readonly seen: Seen[] = [];
  /** Send the headers that make a page cross-origin isolated. */
  isolated = false;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined);
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return `http://127.0.0.1:${address.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Serves `bytes` as `/models/name`, with faults for the first requests. */
  serve(name: string, bytes: Buffer, ...faults: Fault[]): Served {
    const served = { bytes, etag: `"${name}-1"`, lastModified: null, faults };
    this.models.set(`/models/${name}`, served);
    return served;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    if (this.isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
    }
    const onDisk = this.files.get(path);
    if (onDisk !== undefined) {
      const { size } = await stat(onDisk);
      response.writeHead(200, { "Content-Length": size, "Content-Type": "application/octet-stream" });
      createReadStream(onDisk, { highWaterMark: 1 << 20 }).pipe(response);
      return;
    }
    const model = this.models.get(path);
    if (model !== undefined) await this.#sendModel(path, model, request, response);
    else await this.#sendFile(path, response);
  }

  async #sendFile(path: string, response: ServerResponse): Promise<void> {
    const roots: [string, string][] = [
      ["/package/", ""],
      ["/tests/generated/", "generated/"],
      ["/tests/", ".build/"],
      ["/node_modules/", "node_modules/"],
    ];
    const root = roots.find(([prefix]) => path.startsWith(prefix));
    if (path === "/") {
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><meta charset=utf-8><title>test</title>");
      return;
    }
    try {
      if (root === undefined) throw new Error("not served");
      const file = normalize(join(WEB, root[1], path.slice(root[0].length)));
      if (!file.startsWith(WEB)) throw new Error("outside");
      const content = await readFile(file);
      response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
      response.setHeader("Cache-Control", "no-store");
      response.end(content);
    } catch {
      response.statusCode = 404;
      if (path.startsWith("/models/") || path.startsWith("/api/")) {
        this.seen.push({ method: "GET", path, range: null, ifRange: null, status: 404 });
      }
      response.end();
    }
  }

  async #sendModel(
    path: string,
    model: Served,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { bytes, etag, lastModified } = model;
    const fault = request.method === "HEAD" ? undefined : model.faults.shift();
    const range = request.headers.range ?? null;
    const ifRange = request.headers["if-range"];
    const seen: Seen = {
      method: request.method ?? "",
      path,
      range,
      ifRange: typeof ifRange === "string" ? ifRange : null,
      status: 200,
    };
    this.seen.push(seen);
    response.setHeader("Access-Control-Allow-Origin", "*");
    if (etag !== null) response.setHeader("ETag", etag);
    if (lastModified !== null) response.setHeader("Last-Modified", lastModified);
    const finish = (status: number): void => {
      seen.status = status;
      response.statusCode = status;
    };

    if (fault?.kind === "status") {
      finish(fault.status);
      if (fault.retryAfter !== undefined) response.setHeader("Retry-After", fault.retryAfter);
      response.end();
      return;
    }
    let start = 0;
    const wanted = /^bytes=(\d+)-$/.exec(range ?? "");
    const current = seen.ifRange === null || seen.ifRange === etag || seen.ifRange === lastModified;
    if (wanted !== null && current && fault?.kind !== "ignore-range") {
      start = Number(wanted[1]);
      if (start >= bytes.length) {
        finish(416);
        response.setHeader("Content-Range", `bytes */${bytes.length}`);
        response.end();
        return;
      }
      finish(206);
      response.setHeader("Content-Range", `bytes ${start}-${bytes.length - 1}/${bytes.length}`);
    }
    const length = fault?.kind === "length" ? fault.length : bytes.length - start;
    if (fault?.kind !== "chunked") response.setHeader("Content-Length", length);
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    const stopAt = fault?.kind === "drop" || fault?.kind === "stall" ? fault.after : Number.POSITIVE_INFINITY;
    await send(
      response,
      bytes.subarray(start, Math.min(start + length, bytes.length)),
      stopAt,
      model.delay ?? 0,
    );
    if (fault?.kind === "stall" && stopAt < bytes.length - start) return;
    // A browser that learns of the loss before it has read what came throws that away.
    if (fault?.kind === "drop") await new Promise((resolve) => setTimeout(resolve, 500));
    if (response.writableLength === 0 && fault === undefined) response.end();
    else if (fault?.kind === "drop" || fault?.kind === "length") response.destroy();
    else response.end();
  }
}

async function send(response: ServerResponse, bytes: Buffer, stopAt: number, delay: number): Promise<void> {
  response.flushHeaders();
  const end = Math.min(bytes.length, stopAt);
  const size = delay > 0 ? 64 << 10 : 1 << 20;
  for (let from = 0; from < end && !response.destroyed; from += size) {
    const piece = bytes.subarray(from, Math.min(from + size, end));
    await new Promise<void>((resolve) => {
      response.write(piece, () => resolve());
      response.once("close", () => resolve());
    });
    response.removeAllListeners("close");
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
  }
}
