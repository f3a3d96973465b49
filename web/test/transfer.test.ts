/**
 * Loading through every fault a server, a connection and a disk can have, in real Chromium.
 *
 * The loader is a stand-in that hashes what it is given: the question is whether exactly the right bytes
 * arrive, and what is in the cache afterwards.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type { CacheEntry } from "../src/cache.js";
import type { TransferOptions } from "../src/protocol.js";
import { launch } from "./browser.js";
import type { BytesReport } from "./pages/bytes_protocol.js";
import { FaultServer } from "./server.js";

const MB = 1 << 20;
/** Three blocks of the cache, the last one partial. */
const SIZE = 20 * MB + 12345;

let browser: Browser;
let server: FaultServer;
let origin: string;
let context: BrowserContext;
let page: Page;

before(async () => {
  browser = await launch();
  server = new FaultServer();
  origin = await server.listen();
});
after(async () => {
  await browser.close();
  await server.close();
});
beforeEach(async () => {
  server.seen.length = 0;
  server.models.clear();
  context = await browser.newContext();
  page = await open(context);
});
afterEach(() => context.close());

async function open(where: BrowserContext, at = origin): Promise<Page> {
  const opened = await where.newPage();
  await opened.goto(`${at}/`);
  return opened;
}

/** Bytes that no compression and no repetition hides errors in. */
function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i + 4 <= length; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, i);
  }
  return bytes;
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

interface LoadCase {
  reference?: string;
  transfer?: Partial<TransferOptions>;
  refuseAfter?: number;
  /** Abort once so many bytes have come. */
  abortAfter?: number;
  on?: Page;
}

function load(name: string, { transfer, refuseAfter, abortAfter, reference, on = page }: LoadCase = {}) {
  const request = {
    source: {
      kind: "reference" as const,
      reference: reference ?? `${new URL(on.url()).origin}/models/${name}`,
    },
    transfer: {
      cache: "default" as const,
      sha256: null,
      verify: false,
      hub: origin,
      headers: {},
      retries: 3,
      retryDelay: 10,
      stallTimeout: 5000,
      ...transfer,
    },
    ...(refuseAfter === undefined ? {} : { refuseAfter }),
  };
  return on.evaluate(
    async ({ request, abortAfter }) =>
      new Promise<BytesReport>((resolve, reject) => {
        const worker = new Worker("/tests/test/pages/bytes_worker.js", { type: "module" });
        worker.onerror = (event) => reject(new Error(event.message));
        worker.onmessage = ({ data }) => {
          if (abortAfter !== null && data.bytes > abortAfter) worker.postMessage("abort");
          if (data.report === undefined) return;
          worker.terminate();
          resolve(data.report);
        };
        worker.postMessage(request);
      }),
    { request, abortAfter: abortAfter ?? null },
  );
}

function list(on = page): Promise<CacheEntry[]> {
  return on.evaluate(async () => {
    const { cache } = await import(`${location.origin}/package/dist/index.js`);
    return cache.list();
  });
}

/** Names of the data files in the private file system. */
function dataFiles(on = page): Promise<string[]> {
  return on.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("ternlight", { create: true });
    const names: string[] = [];
    for await (const name of folder.keys()) if (name.endsWith(".bin")) names.push(name);
    return names;
  });
}

function assertWhole(report: BytesReport, name: string, bytes: Buffer): void {
  assert.equal(report.error, null, JSON.stringify(report.error));
  assert.deepEqual(report.files, [[name, sha256(bytes)]]);
  assert.equal(report.alive, 0, "loaders left");
}

const ranges = (): (string | null)[] => server.seen.map(({ range }) => range);

test("a download arrives whole, is cached, and loads again without the network", async () => {
  const bytes = noise(SIZE);
  server.serve("a.gguf", bytes);
  const first = await load("a.gguf");
  assertWhole(first, "a.gguf", bytes);
  assert.deepEqual(first.lengths, [SIZE]);
  assert.deepEqual(first.warnings, []);
  const [entry, ...others] = await list();
  assert.deepEqual(others, []);
  assert.equal(entry?.complete, true);
  assert.equal(entry?.bytes, SIZE);
  assert.equal(entry?.sha256, sha256(bytes));

  const requests = server.seen.length;
  server.models.clear();
  const second = await load("a.gguf");
  assertWhole(second, "a.gguf", bytes);
  assert.deepEqual(second.phases, ["cache a.gguf"]);
  assert.equal(server.seen.length, requests, "no request");
});

test("a connection dropped at a byte is taken up there", async () => {
  const bytes = noise(SIZE);
  for (const at of [0, 1, 8 * MB - 1, 8 * MB, 13 * MB + 7, SIZE - 1]) {
    server.seen.length = 0;
    const served = server.serve(`drop${at}.gguf`, bytes, { kind: "drop", after: at });
    served.delay = 2; // Else most of the file waits in the browser, which drops it with the connection.
    const report = await load(`drop${at}.gguf`);
    assertWhole(report, `drop${at}.gguf`, bytes);
    assert.equal(report.retries, 1);
    assert.equal(report.restarts, 0);
    assert.equal(server.seen.length, 2);
    const [, again] = server.seen;
    const resumed = Number(/\d+/.exec(again?.range ?? "0")?.[0]);
    assert.ok(resumed <= at && resumed >= at - 4 * MB, `resumed at ${resumed} of ${at}`);
    if (resumed > 0) {
      assert.equal(again?.ifRange, `"drop${at}.gguf-1"`);
      assert.equal(again?.status, 206);
    }
  }
});

test("a download given up is resumed by the next load", async () => {
  const bytes = noise(SIZE);
  server.serve("b.gguf", bytes, ...Array(4).fill({ kind: "drop", after: 9 * MB }));
  const failed = await load("b.gguf", { transfer: { retries: 0 } });
  assert.equal(failed.error?.code, "network");
  assert.equal(failed.alive, 0);
  const [partial] = await list();
  assert.equal(partial?.complete, false);
  assert.ok((partial?.bytes ?? 0) > 8 * MB, "the tail is kept too");
  server.models.get("/models/b.gguf")?.faults.splice(0);
  const report = await load("b.gguf");
  assertWhole(report, "b.gguf", bytes);
  assert.equal(server.seen.at(-1)?.range, `bytes=${partial?.bytes}-`);
  assert.equal((await list())[0]?.sha256, sha256(bytes));
});

test("a download cut short by closing the page is resumed", async () => {
  const bytes = noise(SIZE);
  const served = server.serve("c.gguf", bytes);
  served.delay = 15;
  const other = await open(context);
  const pending = load("c.gguf", { on: other }).catch(() => null);
  await waitFor(async () => ((await list())[0]?.bytes ?? 0) >= 8 * MB);
  await other.close();
  await pending;
  served.delay = 0;
  const report = await load("c.gguf");
  assertWhole(report, "c.gguf", bytes);
  assert.match(server.seen.at(-1)?.range ?? "", /^bytes=\d{7,}-$/);
});

test("an aborted download is resumed", async () => {
  const bytes = noise(SIZE);
  const served = server.serve("d.gguf", bytes);
  served.delay = 2;
  const aborted = await load("d.gguf", { abortAfter: 9 * MB });
  assert.equal(aborted.error?.code, "cancelled");
  served.delay = 0;
  assertWhole(await load("d.gguf"), "d.gguf", bytes);
  assert.match(server.seen.at(-1)?.range ?? "", /^bytes=[1-9]\d+-$/);
});

test("a server that ignores ranges costs a second transfer, not a wrong file", async () => {
  const bytes = noise(SIZE);
  server.serve("e.gguf", bytes, { kind: "drop", after: 10 * MB }, { kind: "ignore-range" });
  const report = await load("e.gguf");
  assertWhole(report, "e.gguf", bytes);
  assert.equal(report.restarts, 0);
});

test("503 is retried, honouring Retry-After; 404 is not", async () => {
  const bytes = noise(MB);
  const busy = { kind: "status", status: 503 } as const;
  server.serve("f.gguf", bytes, busy, { ...busy, retryAfter: 1 }, busy);
  const began = Date.now();
  const report = await load("f.gguf");
  assertWhole(report, "f.gguf", bytes);
  assert.equal(report.retries, 3);
  assert.ok(Date.now() - began >= 1000);

  server.serve("g.gguf", bytes, ...Array(9).fill(busy));
  const refused = await load("g.gguf");
  assert.deepEqual([refused.error?.code, refused.error?.status], ["http", 503]);
  assert.equal(server.seen.filter(({ path }) => path.endsWith("g.gguf")).length, 4);

  const missing = await load("nothing.gguf");
  assert.deepEqual([missing.error?.code, missing.error?.status], ["http", 404]);
  assert.deepEqual(
    (await list()).map(({ url }) => url.replace(/.*\//, "")),
    ["f.gguf"],
  );
});

test("a file that changes between attempts is read from its beginning", async () => {
  const [old, now] = [noise(SIZE, 1), noise(SIZE, 2)];
  const served = server.serve("h.gguf", old, { kind: "drop", after: 9 * MB });
  const failed = await load("h.gguf", { transfer: { retries: 0 } });
  assert.equal(failed.error?.code, "network");
  served.bytes = now;
  served.etag = '"another"';
  const report = await load("h.gguf");
  assertWhole(report, "h.gguf", now);
  assert.equal(report.restarts, 1);
  assert.equal((await list())[0]?.sha256, sha256(now));
  assert.equal((await dataFiles()).length, 1);
});

test("without a validator nothing is pieced together, unless the hash is known", async () => {
  const bytes = noise(SIZE);
  const drop = { kind: "drop", after: 9 * MB } as const;
  const served = server.serve("i.gguf", bytes, drop);
  served.etag = null;
  const careful = await load("i.gguf");
  assertWhole(careful, "i.gguf", bytes);
  assert.equal(careful.restarts, 1);

  const hashed = server.serve("j.gguf", bytes, drop);
  hashed.etag = null;
  const trusting = await load("j.gguf", { transfer: { sha256: sha256(bytes) } });
  assertWhole(trusting, "j.gguf", bytes);
  assert.equal(trusting.restarts, 0);

  const changed = server.serve("k.gguf", noise(SIZE, 2), drop);
  changed.etag = null;
  await load("k.gguf", { transfer: { retries: 0, sha256: sha256(bytes) } });
  changed.bytes = bytes;
  const mixed = await load("k.gguf", { transfer: { sha256: sha256(bytes) } });
  assertWhole(mixed, "k.gguf", bytes);
  assert.equal(mixed.restarts, 1, "the hash found the mixture out");
});

test("Last-Modified serves where there is no strong tag", async () => {
  const bytes = noise(SIZE);
  const served = server.serve("l.gguf", bytes, { kind: "drop", after: 9 * MB });
  served.etag = 'W/"weak"';
  served.lastModified = "Sat, 21 Nov 2026 10:00:00 GMT";
  const report = await load("l.gguf");
  assertWhole(report, "l.gguf", bytes);
  assert.equal(report.restarts, 0);
  assert.equal(server.seen.at(-1)?.ifRange, served.lastModified);
});

test("another origin is asked without If-Range and compared here", async () => {
  const elsewhere = new FaultServer();
  const address = (await elsewhere.listen()).replace("127.0.0.1", "localhost");
  try {
    const bytes = noise(SIZE);
    const served = elsewhere.serve("m.gguf", bytes, { kind: "drop", after: 9 * MB });
    served.lastModified = "Sat, 21 Nov 2026 10:00:00 GMT";
    const report = await load("m.gguf", { reference: `${address}/models/m.gguf` });
    assertWhole(report, "m.gguf", bytes);
    assert.deepEqual(
      elsewhere.seen.map(({ method, ifRange, status }) => [method, ifRange, status]),
      [
        ["GET", null, 200],
        ["GET", null, 206],
      ],
      "no preflight, no If-Range",
    );
    assert.equal(report.restarts, 0);
  } finally {
    await elsewhere.close();
  }
});

test("a wrong length never becomes a cached model", async () => {
  const bytes = noise(3 * MB);
  server.serve("n.gguf", bytes, ...Array(9).fill({ kind: "length", length: 4 * MB }));
  const long = await load("n.gguf");
  assert.ok(["source-changed", "network"].includes(long.error?.code ?? ""), JSON.stringify(long.error));
  server.serve("o.gguf", bytes);
  const known = await load("o.gguf", {
    transfer: { sha256: sha256(noise(4 * MB)) },
  });
  assert.equal(known.error?.code, "checksum");
  assert.equal((await list()).filter(({ complete }) => complete).length, 0);
  const cut = server.serve("p.gguf", bytes, { kind: "length", length: MB });
  cut.faults.push({ kind: "none" });
  const short = await load("p.gguf", { transfer: { sha256: sha256(bytes) } });
  assert.equal(short.error?.code, "checksum");
  assertWhole(await load("p.gguf", { transfer: { sha256: sha256(bytes) } }), "p.gguf", bytes);
});

test("a silent connection counts as lost", async () => {
  const bytes = noise(2 * MB);
  server.serve("q.gguf", bytes, { kind: "stall", after: MB });
  const report = await load("q.gguf", { transfer: { stallTimeout: 400 } });
  assertWhole(report, "q.gguf", bytes);
  assert.equal(report.retries, 1);
});

test("a damaged copy is noticed block by block, and only the rest is fetched", async () => {
  const bytes = noise(SIZE);
  server.serve("r.gguf", bytes);
  await load("r.gguf");
  await damage(9 * MB);
  const report = await load("r.gguf");
  assertWhole(report, "r.gguf", bytes);
  assert.deepEqual(report.warnings, ["cache-corrupt"]);
  assert.deepEqual(ranges(), [null, `bytes=${8 * MB}-`]);
  assert.equal((await list())[0]?.complete, true);
  const after = await load("r.gguf");
  assertWhole(after, "r.gguf", bytes);
  assert.deepEqual(after.warnings, []);
});

test("a damaged copy without a connection says so, and is repaired later", async () => {
  const bytes = noise(SIZE);
  server.serve("s.gguf", bytes);
  await load("s.gguf");
  await damage(17 * MB);
  const served = server.models.get("/models/s.gguf");
  served?.faults.push(...Array(4).fill({ kind: "drop", after: 0 }));
  const offline = await load("s.gguf", { transfer: { retries: 0 } });
  assert.equal(offline.error?.code, "cache-corrupt");
  served?.faults.splice(0);
  assertWhole(await load("s.gguf"), "s.gguf", bytes);
  assert.equal(server.seen.at(-1)?.range, `bytes=${16 * MB}-`);
});

test("a copy that lost its data file is fetched again", async () => {
  const bytes = noise(MB);
  server.serve("t.gguf", bytes);
  await load("t.gguf");
  await page.evaluate(async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("ternlight");
    for await (const name of folder.keys()) if (name.endsWith(".bin")) await folder.removeEntry(name);
  });
  const report = await load("t.gguf");
  assertWhole(report, "t.gguf", bytes);
  assert.deepEqual(report.warnings, ["cache-corrupt"]);
});

test("a failed replacement leaves the good copy", async () => {
  const [old, now] = [noise(SIZE, 1), noise(SIZE, 2)];
  const served = server.serve("u.gguf", old);
  await load("u.gguf");
  served.bytes = now;
  served.etag = '"two"';
  served.faults.push({ kind: "drop", after: 9 * MB });
  const failed = await load("u.gguf", { transfer: { cache: "reload", retries: 0 } });
  assert.equal(failed.error?.code, "network");
  const kept = await load("u.gguf");
  assertWhole(kept, "u.gguf", old);
  assert.deepEqual(kept.phases, ["cache u.gguf"]);
  const revalidated = await load("u.gguf", { transfer: { cache: "revalidate" } });
  assertWhole(revalidated, "u.gguf", now);
  assert.equal(server.seen.at(-1)?.status, 206, "the interrupted replacement was taken up");
  assert.equal((await dataFiles()).length, 1);
  assert.equal((await list()).length, 1);
});

test("revalidation without a connection uses the copy", async () => {
  const bytes = noise(MB);
  server.serve("v.gguf", bytes);
  await load("v.gguf");
  await context.setOffline(true);
  const report = await load("v.gguf", { transfer: { cache: "revalidate" } }).catch(() => null);
  await context.setOffline(false);
  // The worker's own scripts cannot be fetched offline here; then there is nothing to compare.
  if (report !== null) assertWhole(report, "v.gguf", bytes);
  const current = await load("v.gguf", { transfer: { cache: "revalidate" } });
  assertWhole(current, "v.gguf", bytes);
  assert.deepEqual(current.phases, ["cache v.gguf"]);
});

test("too little storage is reported, nothing is left behind, and the load goes on", async () => {
  const bytes = noise(SIZE);
  server.serve("small.gguf", noise(MB));
  await load("small.gguf");
  const session = await context.newCDPSession(page);
  server.serve("w.gguf", bytes);
  for (const quotaSize of [10 * MB, 3 * MB]) {
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
    const report = await load("w.gguf");
    assertWhole(report, "w.gguf", bytes);
    assert.deepEqual(report.warnings, ["quota"]);
  }
  assert.deepEqual(
    (await list()).map(({ url, complete }) => [url.replace(/.*\//, ""), complete]),
    [["small.gguf", true]],
  );
  assert.equal((await dataFiles()).length, 1);
  await session.send("Storage.overrideQuotaForOrigin", { origin });
  const report = await load("w.gguf");
  assert.deepEqual(report.warnings, []);
  assert.equal((await list()).length, 2);
});

test("storage that runs out while writing is reported, and the load goes on", async () => {
  const bytes = noise(SIZE);
  const served = server.serve("x.gguf", bytes);
  served.delay = 4;
  const session = await context.newCDPSession(page);
  const pending = load("x.gguf");
  await waitFor(async () => (await dataFiles()).length > 0);
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 9 * MB });
  const report = await pending;
  assertWhole(report, "x.gguf", bytes);
  assert.deepEqual(report.warnings, ["quota"]);
  assert.deepEqual(await list(), []);
  assert.deepEqual(await dataFiles(), []);
});

test("a page without a private file system loads uncached", async () => {
  const insecure = await launch("--host-resolver-rules=MAP insecure.example 127.0.0.1");
  try {
    const bytes = noise(SIZE);
    server.serve("y.gguf", bytes, { kind: "drop", after: 9 * MB });
    const port = new URL(origin).port;
    const there = await open(await insecure.newContext(), `http://insecure.example:${port}`);
    const report = await load("y.gguf", { on: there });
    assertWhole(report, "y.gguf", bytes);
    assert.deepEqual(report.warnings, ["no-storage"]);
    assert.equal(server.seen.at(-1)?.status, 206, "resumed within the load");
    assert.deepEqual(await list(there), []);
  } finally {
    await insecure.close();
  }
});

test("what the loader refuses is not cached", async () => {
  server.serve("z.gguf", noise(SIZE));
  const report = await load("z.gguf", { refuseAfter: MB });
  assert.equal(report.error?.code, "bad-magic");
  assert.equal(report.alive, 0);
  assert.deepEqual(await list(), []);
  assert.deepEqual(await dataFiles(), []);
});

test("two tabs that want one file fetch it once", async () => {
  const bytes = noise(SIZE);
  const served = server.serve("tabs.gguf", bytes);
  served.delay = 2;
  const other = await open(context);
  const [one, two] = await Promise.all([load("tabs.gguf"), load("tabs.gguf", { on: other })]);
  assertWhole(one, "tabs.gguf", bytes);
  assertWhole(two, "tabs.gguf", bytes);
  assert.equal(server.seen.length, 1);
  const together = await Promise.all([load("tabs.gguf"), load("tabs.gguf", { on: other })]);
  for (const report of together) {
    assertWhole(report, "tabs.gguf", bytes);
    assert.deepEqual(report.warnings, []);
  }
});

test("split files, folders and hub references become their files, and load offline", async () => {
  const [a, b] = [noise(MB, 1), noise(2 * MB, 2)];
  server.serve("big-00001-of-00002.gguf", a);
  server.serve("big-00002-of-00002.gguf", b);
  const split = await load("big-00002-of-00002.gguf");
  assert.equal(split.error, null, JSON.stringify(split.error));
  assert.deepEqual(split.files, [
    ["big-00001-of-00002.gguf", sha256(a)],
    ["big-00002-of-00002.gguf", sha256(b)],
  ]);

  const config = Buffer.from("{}");
  server.serve("folder/config.json", config);
  server.serve("folder/tokenizer.json", config);
  server.serve("folder/model.safetensors", a);
  const folder = await load("folder/");
  assert.deepEqual(
    folder.files.map(([name]) => name),
    ["config.json", "tokenizer.json", "model.safetensors"],
  );

  const index = Buffer.from(
    JSON.stringify({
      weight_map: { x: "model-00001-of-00002.safetensors", y: "model-00002-of-00002.safetensors" },
    }),
  );
  const hubFiles: [string, Buffer][] = [
    ["config.json", config],
    ["model-00001-of-00002.safetensors", a],
    ["model-00002-of-00002.safetensors", b],
    ["model.safetensors.index.json", index],
    ["README.md", config],
  ];
  for (const [name, bytes] of hubFiles) {
    const served = server.serve(name, bytes);
    server.models.set(`/some/repo/resolve/main/${name}`, served);
  }
  const listing = hubFiles.map(([path, bytes]) => ({
    type: "file",
    path,
    size: bytes.length,
    ...(path.endsWith(".safetensors") ? { lfs: { oid: sha256(bytes), size: bytes.length } } : {}),
  }));
  server.models.set("/api/models/some/repo/tree/main", {
    bytes: Buffer.from(JSON.stringify(listing)),
    etag: null,
    lastModified: null,
    faults: [],
  });
  const hub = await load("", { reference: "hf:some/repo" });
  assert.equal(hub.error, null, JSON.stringify(hub.error));
  // The engine reads the index too, before the shards.
  assert.deepEqual(hub.files, [
    ["config.json", sha256(config)],
    ["model.safetensors.index.json", sha256(index)],
    ["model-00001-of-00002.safetensors", sha256(a)],
    ["model-00002-of-00002.safetensors", sha256(b)],
  ]);

  server.models.clear();
  for (const reference of [
    `${origin}/models/big-00002-of-00002.gguf`,
    `${origin}/models/folder/`,
    "hf:some/repo",
  ]) {
    const again = await load("", { reference });
    assert.equal(again.error, null, JSON.stringify(again.error));
    assert.ok(again.phases.every((phase) => phase.startsWith("cache ")));
  }
  const unknown = await load("", { reference: "hf:nonsense" });
  assert.equal(unknown.error?.code, "bad-source");
});

/** Flips a byte of the one stored data file. */
async function damage(at: number): Promise<void> {
  await page.evaluate(async (at) => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("ternlight");
    for await (const name of folder.keys()) {
      if (!name.endsWith(".bin")) continue;
      const file = await folder.getFileHandle(name);
      const old = new Uint8Array(await (await file.getFile()).slice(at, at + 1).arrayBuffer());
      const stream = await file.createWritable({ keepExistingData: true });
      await stream.write({ type: "write", position: at, data: new Uint8Array([(old[0] ?? 0) ^ 1]) });
      await stream.close();
    }
  }, at);
}

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not happen within 10 s");
}
