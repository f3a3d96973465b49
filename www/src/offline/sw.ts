/**
 * The service worker: the page without a network, and threads on hosting that cannot set headers.
 *
 * The build writes the list of files that make up the page into `SHELL`. All of them are kept at install, so a page and
 * its parts always come from one version. Invariant: responses of this origin carry COOP and COEP; model files and other
 * origins are never touched (the engine keeps weights itself).
 */

/// <reference lib="webworker" />

export {};

declare const self: ServiceWorkerGlobalScope;

interface Shell {
  version: string;
  /** Needed before the first token; kept at install. */
  files: string[];
  /** WebAssembly flavours, and what only some replies need (maths, colours for code); kept when first used. */
  later: string[];
}

declare const __SHELL__: Shell;
const SHELL: Shell = __SHELL__;

const PREFIX = "ternlight-shell-";
const CACHE = PREFIX + SHELL.version;
const scope = new URL(self.registration.scope);
const kept = new Set([...SHELL.files, ...SHELL.later].map((file) => new URL(file, scope).pathname));

self.addEventListener("install", (event) => {
  // What is named by its content cannot be stale, and the page that is open has just fetched it.
  const requests = SHELL.files.map(
    (file) =>
      new Request(new URL(file, scope), {
        cache: /^(?:assets|engine)\//.test(file) ? "default" : "no-cache",
      }),
  );
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys())
        if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("message", (event: ExtendableMessageEvent) => {
  const message: unknown = event.data;
  if (message === "take-over") event.waitUntil(self.skipWaiting());
  // The first engine of a first visit was fetched before this worker was in charge: keep what it ran.
  if (message === "keep-engine") event.waitUntil(keepEngines());
});

async function keepEngines(): Promise<void> {
  const cache = await caches.open(CACHE);
  for (const file of SHELL.later) {
    const url = new URL(file, scope);
    if (await cache.match(url)) continue;
    // Only what the browser already holds, so that unused flavours are not downloaded.
    const held = await fetch(url, { cache: "only-if-cached", mode: "same-origin" }).catch(() => null);
    if (held?.ok) await cache.put(url, held);
  }
}

/** Workers do not inherit the page's policy, so theirs comes with them. The page has its own, in its HTML. */
const WORKER_POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' https: http://localhost:* http://127.0.0.1:* blob:";

function isolated(response: Response): Response {
  // An opaque, redirected-to-nothing or null-body response cannot be rebuilt.
  if (response.type === "opaque" || response.type === "error" || response.status === 304) return response;
  const headers = new Headers(response.headers);
  // The body is unpacked already.
  headers.delete("Content-Encoding");
  headers.delete("Content-Length");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  if (headers.get("Content-Type")?.includes("javascript"))
    headers.set("Content-Security-Policy", WORKER_POLICY);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function answer(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const held = await cache.match(new URL(path, scope), { ignoreSearch: true });
  if (held) return isolated(held);
  const fresh = await fetch(request);
  if (fresh.ok && kept.has(path)) await cache.put(new URL(path, scope), fresh.clone());
  return isolated(fresh);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname))
    return;
  if (request.mode === "navigate") {
    const home = url.pathname === scope.pathname || url.pathname === `${scope.pathname}index.html`;
    if (home) event.respondWith(answer(request, new URL("index.html", scope).pathname));
    return;
  }
  if (kept.has(url.pathname)) event.respondWith(answer(request, url.pathname));
});
