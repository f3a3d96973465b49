/**
 * The package as its users have it: its public API, the real engine and a real model, in Chromium.
 *
 * The model is SmolLM2-135M-Instruct, which `build.sh` fetches; `MODEL` names another copy of the file.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, JSHandle, Page } from "playwright-core";
import type * as Api from "../src/index.js";
import { launch } from "./browser.js";
import { FaultServer } from "./server.js";

type Package = typeof Api;

const ROOT = new URL("../../../", import.meta.url);
const MODEL =
  process.env["MODEL"] ?? fileURLToPath(new URL(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf", ROOT));
const DATA = new URL("tests/data/", ROOT);
/** Why the tests with it are left out: only where the environment says that it cannot be had. */
const skip =
  existsSync(MODEL) || process.env["TERNLIGHT_WITHOUT_SMOLLM2"] === undefined
    ? false
    : "SmolLM2 is not there";
/** A model that loads at once: two layers, random ternary weights, no tokenizer. */
const TINY = "oracle/tiny_a_packed";
/** A model with a tokenizer, a chat template and a context of 512 tokens. */
const TERN_URL = "/models/tern-chat/";
/** Codes other than `bad-option` of malformed calls. */
const EXPECTED: Record<string, string> = {
  undefined: "none",
  "load with createWorker": "unsupported-browser",
  "load with set vocab_size": "missing-key",
  "load undefined": "bad-source",
  "load null": "bad-source",
  "load 5": "bad-source",
  "load {}": "bad-source",
  'load {"files":5}': "bad-source",
  'load {"files":[null]}': "bad-source",
  'load {"files":[{"blob":5}]}': "bad-source",
};

let browser: Browser;
let server: FaultServer;
let origin: string;
let context: BrowserContext;
let page: Page;
let api: JSHandle<Package>;
let bytes: Buffer;

before(async () => {
  assert.ok(skip || existsSync(MODEL), `${MODEL} is missing: ./build.sh fetches it`);
  bytes = skip ? Buffer.alloc(0) : readFileSync(MODEL);
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
  server.isolated = false;
  server.serve("model.gguf", bytes);
  serveFolder(TINY);
  const ternFiles = ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"];
  for (const name of [...ternFiles, "model.safetensors"]) {
    const content = readFileSync(new URL(`crates/tern/tern/${name}`, ROOT));
    server.serve(`tern-chat/${name}`, content);
    server.serve(`slow/${name}`, content).delay = 5;
  }
  context = await browser.newContext();
  [page, api] = await open();
});
afterEach(() => context.close());

/** golden.json knows Tern by the folder in which the model lay when it was written; its relatives lie beside it. */
const TERNS = "../models/";

function serveFolder(model: string, as = model): void {
  const folder = model.startsWith(TERNS)
    ? new URL(`crates/tern/${model.slice(TERNS.length)}/`, ROOT)
    : new URL(`${model}/`, DATA);
  for (const name of ["config.json", "model.safetensors"]) {
    server.serve(`${as}/${name}`, readFileSync(new URL(name, folder)));
  }
}

async function open(): Promise<[Page, JSHandle<Package>]> {
  const opened = await context.newPage();
  opened.setDefaultTimeout(0);
  await opened.goto(`${origin}/`);
  const loaded = await opened.evaluateHandle(
    (): Promise<Package> => import(`${location.origin}/package/dist/index.js`),
  );
  return [opened, loaded];
}

interface Golden {
  model: string;
  /** With int8 head and cache. */
  compact: boolean;
  prompt: number[];
  tokens: number[];
  /** f32, in decimal. */
  logprobs: number[];
}

const CREWS = [
  { flavour: "simd128", kernel: "auto", threads: 1 },
  { flavour: "relaxed", kernel: "relaxed", threads: 1 },
  { flavour: "relaxed", kernel: "relaxed-i16", threads: 1 },
  { flavour: "threads", kernel: "auto", threads: 2 },
  { flavour: "threads", kernel: "simd128", threads: 3 },
  { flavour: "threads", kernel: "relaxed", threads: 4 },
] as const;

for (const { flavour, kernel, threads } of CREWS) {
  const missing = existsSync(new URL(`web/generated/${flavour}`, ROOT)) ? false : "not built here";
  const name = `golden tokens and bits, the native ones, from ${flavour}, kernels ${kernel}, threads ${threads}`;
  test(name, { skip: missing }, async () => {
    server.isolated = flavour === "threads";
    const used = new Set<string>();
    const golden: Golden[] = JSON.parse(readFileSync(new URL("golden.json", DATA), "utf8"));
    for (const { model, compact, prompt, tokens, logprobs } of golden) {
      if (skip && model.endsWith(".gguf")) continue;
      const as = model.startsWith(TERNS) ? model.slice(TERNS.length) : model;
      if (!model.endsWith(".gguf")) serveFolder(model, as);
      const url = model.endsWith(".gguf") ? "/models/model.gguf" : `/models/${as}/`;
      const small = compact ? ({ kv: "i8", head: "int8" } as const) : {};
      const [own, package_] = await open();
      const got = await package_.evaluate(
        async ({ Engine }, { url, prompt, count, options }) => {
          const engine = await Engine.load(url, options);
          const ids: number[] = [];
          const logprobs: number[] = [];
          const greedy = { maxTokens: count, temperature: 0, ignoreStopTokens: true };
          for await (const piece of engine.generate(prompt, greedy)) {
            ids.push(...piece.tokens.map(({ id }) => id));
            logprobs.push(...piece.tokens.map(({ logprob }) => logprob));
          }
          const { threads, kernels } = engine.info;
          await engine.close();
          return { ids, logprobs, flavour: engine.flavour, threads, kernels };
        },
        { url, prompt, count: tokens.length, options: { flavour, kernel, threads, ...small } },
      );
      await own.close();
      assert.equal(got.flavour, flavour);
      assert.equal(got.threads, threads);
      for (const name of got.kernels) used.add(name);
      assert.deepEqual(got.ids, tokens, `${model}, ${got.kernels.join(" ")}`);
      const bits = (values: number[]): number[] => values.map(Math.fround);
      assert.deepEqual(bits(got.logprobs), bits(logprobs), `the bits of ${model}`);
    }
    // Not every level has every form, so not every model shows which it was.
    const level = kernel === "auto" ? /\/(simd128|relaxed)/ : new RegExp(`/${kernel}$`);
    assert.ok(
      [...used].some((name) => level.test(name)),
      `kernels: ${[...used].join(" ")}`,
    );
  });
}

test("a conversation streams, reports its tokens, and keeps the cache between turns", { skip }, async () => {
  const result = await api.evaluate(async ({ Engine }) => {
    const phases = new Set<string>();
    let lastLoaded = 0;
    const engine = await Engine.load("/models/model.gguf", {
      onProgress: ({ phase, loaded }) => {
        phases.add(phase);
        lastLoaded = loaded;
      },
    });
    const messages = [{ role: "user", content: "What is gravity?" }];
    const prefills: number[] = [];
    const reply = engine.chat(messages, {
      maxTokens: 16,
      temperature: 0,
      topLogprobs: 3,
      onPrefill: ({ done }) => prefills.push(done),
    });
    const pieces = [];
    for await (const piece of reply) pieces.push(piece);
    const first = await reply.summary;
    const text = pieces.map((piece) => piece.text).join("");
    const again = engine.chat(
      [...messages, { role: "assistant", content: text }, { role: "user", content: "Thanks. And light?" }],
      { maxTokens: 8, temperature: 0 },
    );
    const secondText = await again.text();
    const second = await again.summary;
    const tokens = await engine.tokenize("Hello <|im_end|> world");
    const special = await engine.tokenize("Hello <|im_end|> world", { special: true });
    const round = await engine.detokenize(tokens);
    const info = engine.info;
    await engine.close();
    return {
      phases: [...phases],
      lastLoaded,
      pieces,
      first,
      text,
      second,
      secondText,
      tokens,
      special,
      round,
      info,
      prefills,
    };
  });
  assert.deepEqual(result.phases, ["resolve", "download", "prepare"]);
  assert.equal(result.lastLoaded, bytes.length);
  assert.ok(result.pieces.length > 4, "it streams");
  assert.ok(result.text.length > 20);
  assert.equal(result.first.tokens, 16);
  assert.equal(result.first.finishReason, "length");
  assert.ok(result.first.timings.decodeTokensPerSecond > 0);
  for (const { tokens } of result.pieces) {
    for (const token of tokens) {
      assert.ok(token.logprob <= 0);
      assert.equal(token.top.length, 3);
      assert.equal(token.top[0]?.id, token.id, "greedy takes the likeliest");
      assert.ok((token.top[0]?.logprob ?? 0) >= (token.top[1]?.logprob ?? 0));
    }
  }
  assert.ok(result.second.cachedTokens > 10, `${result.second.cachedTokens} tokens kept`);
  assert.ok(result.second.timings.prefillTokens < result.second.promptTokens);
  assert.equal(result.round, "Hello <|im_end|> world");
  assert.ok(
    result.special.length < result.tokens.length,
    "control tokens in text stay text unless asked for",
  );
  assert.equal(result.info.arch, "llama");
  assert.equal(result.info.layers, 30);
  assert.ok(result.info.chat);
  assert.equal(result.info.fileBytes, bytes.length);
});

test("a second load needs no network", { skip }, async () => {
  const load = async (): Promise<string> =>
    api.evaluate(async ({ Engine }) => {
      const phases: string[] = [];
      const engine = await Engine.load("/models/model.gguf", {
        onProgress: ({ phase }) => phases.at(-1) === phase || phases.push(phase),
      });
      const text = await engine.generate("The capital of France is", { maxTokens: 4, temperature: 0 }).text();
      await engine.close();
      return `${phases.join(" ")}:${text}`;
    });
  const first = await load();
  assert.match(first, /^resolve download prepare: Paris/);
  server.models.clear();
  const second = await load();
  assert.equal(second, first.replace("download", "cache"));
  assert.equal(server.seen.length, 1);
  const entries = await api.evaluate(({ cache }) => cache.list());
  assert.equal(entries.length, 1);
  await api.evaluate(({ cache }) => cache.clear());
  assert.deepEqual(await api.evaluate(({ cache }) => cache.list()), []);
});

test("a reply is stopped by a signal, by leaving the loop, and by closing", { skip }, async () => {
  const result = await api.evaluate(async ({ Engine }) => {
    const engine = await Engine.load("/models/model.gguf", { cache: "none" });
    const long = "Once upon a time there was a mill by the river. ".repeat(40);
    const controller = new AbortController();

    const during = engine.generate(long, { maxTokens: 200, temperature: 0, signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    const began = performance.now();
    const prefillText = await during.text();
    const prefillStop = performance.now() - began;
    const prefillEnd = await during.summary;

    const reply = engine.generate("Once upon a time", { maxTokens: 400, temperature: 0 });
    let seen = 0;
    for await (const _ of reply) if (++seen === 3) break;
    const leftEnd = await reply.summary;

    const after = await engine.generate("The capital of France is", { maxTokens: 2, temperature: 0 }).text();

    const pending = engine.generate("Once upon a time", { maxTokens: 400, temperature: 0 });
    await pending.next();
    await engine.close();
    const closed = await pending.summary.catch((error) => error.code);
    const later = await engine.tokenize("a").catch((error) => error.code);
    return { prefillText, prefillStop, prefillEnd, leftEnd, after, closed, later };
  });
  assert.equal(result.prefillEnd.finishReason, "cancelled");
  assert.equal(result.prefillText, "");
  assert.equal(result.leftEnd.finishReason, "cancelled");
  assert.ok(result.leftEnd.tokens < 100, `${result.leftEnd.tokens} tokens after leaving at the third`);
  assert.equal(result.after, " Paris.");
  assert.equal(result.closed, "closed");
  assert.equal(result.later, "closed");
  console.log(`stopped ${Math.round(result.prefillStop - 100)} ms after the signal`);
});

test("what is wrong with a load has a code", { skip }, async () => {
  server.serve("noise.gguf", Buffer.alloc(100_000, 7));
  server.serve("short.gguf", bytes.subarray(0, 50_000_000));
  server.serve("empty.gguf", Buffer.alloc(0));
  const codes = await api.evaluate(async ({ Engine }) => {
    const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => "none",
        (error) => error.code,
      );
    const controller = new AbortController();
    controller.abort();
    const bad: Record<string, unknown> = { kernal: "auto" };
    return {
      noise: await codeOf(Engine.load("/models/noise.gguf")),
      short: await codeOf(Engine.load("/models/short.gguf")),
      empty: await codeOf(Engine.load("/models/empty.gguf")),
      missing: await codeOf(Engine.load("/models/missing.gguf")),
      hash: await codeOf(Engine.load("/models/noise.gguf", { sha256: "0".repeat(64) })),
      blob: await codeOf(Engine.load(new Blob(["GGUF"]))),
      files: await codeOf(Engine.load({ files: [] })),
      option: await codeOf(Engine.load("/models/model.gguf", bad)),
      aborted: await codeOf(Engine.load("/models/model.gguf", { signal: controller.signal })),
      hf: await codeOf(Engine.load("hf:nobody")),
    };
  });
  const entries = await api.evaluate(({ cache }) => cache.list());
  assert.deepEqual(
    entries.filter(({ complete }) => complete),
    [],
    "nothing broken was cached",
  );
  assert.deepEqual(codes, {
    noise: "bad-magic",
    short: "truncated",
    empty: "truncated",
    missing: "http",
    hash: "bad-magic",
    blob: "truncated",
    files: "bad-source",
    option: "bad-option",
    aborted: "cancelled",
    hf: "bad-source",
  });
});

test("what is wrong with a prompt has a code and leaves the engine usable", { skip }, async () => {
  const result = await api.evaluate(async ({ Engine }) => {
    const engine = await Engine.load("/models/model.gguf", { context: 64 });
    const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => "none",
        (error) => error.code,
      );
    const wrong: Record<string, unknown> = { temprature: 1 };
    const codes = [
      await codeOf(engine.generate("a", wrong).text()),
      await codeOf(engine.generate([1_000_000], {}).text()),
      await codeOf(engine.generate("word ".repeat(200)).text()),
      await codeOf(engine.generate({ text: "a", tokens: [1] }).text()),
    ];
    const full = engine.generate("Once upon a time", { temperature: 0 });
    await full.text();
    const { finishReason } = await full.summary;
    const text = await engine.generate("The capital of France is", { maxTokens: 2, temperature: 0 }).text();
    await engine.close();
    return { codes, finishReason, text };
  });
  assert.deepEqual(result.codes, ["bad-option", "bad-option", "context-full", "bad-option"]);
  assert.equal(result.finishReason, "context-full");
  assert.equal(result.text, " Paris.");
});

test("no call, however malformed, costs the engine", async () => {
  const result = await api.evaluate(
    async ({ Engine }, { url, tern }) => {
      const outcomes: [string, unknown, unknown][] = [];
      const note = async (name: string, work: () => unknown): Promise<void> => {
        try {
          await work();
          outcomes.push([name, "none", ""]);
        } catch (thrown) {
          const { code = "no code", message } = thrown as { code?: unknown; message: string };
          outcomes.push([name, code, message]);
        }
      };
      // biome-ignore lint/suspicious/noExplicitAny: what JavaScript may pass.
      const any = (value: unknown): any => value;
      const engine = await Engine.load(tern);
      const nested = (depth: number): unknown => {
        let value: unknown = "end";
        for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value };
        return value;
      };
      const cycle: Record<string, unknown> = {};
      cycle["self"] = cycle;
      const said = (more: object): unknown => [{ role: "user", content: "Hi", ...more }];

      for (const value of [undefined, null, 5, {}, ["a"], Symbol.iterator, 10n]) {
        await note(`tokenize ${typeof value}`, () => engine.tokenize(any(value)));
        await note(`embed ${typeof value}`, () => engine.embed(any(value)));
      }
      for (const value of [undefined, 5, "5", [-1], [1.5], ["1"], [Number.NaN], [2 ** 33], {}]) {
        await note(`detokenize ${JSON.stringify(value)}`, () => engine.detokenize(any(value)));
        await note(`logits ${JSON.stringify(value)}`, () => engine.logits(any(value)));
      }
      await note("special", () => engine.tokenize("a", { special: any("yes") }));
      for (const messages of [
        undefined,
        "Hi",
        [null],
        [{ content: "no role" }],
        [{ role: "user", content: 5 }],
        said({ deep: nested(3000) }),
        said({ cycle }),
        said({ map: new Map([["a", 1]]) }),
        said({ date: new Date() }),
        said({ call: () => 1 }),
        said({ many: new Array(1 << 21).fill(0) }),
      ]) {
        await note(`chat ${outcomes.length}`, () => engine.chat(any(messages), { maxTokens: 1 }).text());
        await note(`chatTokens ${outcomes.length}`, () => engine.chatTokens(any(messages)));
      }
      const template = { variables: { deep: nested(3000) } };
      await note("template", () => engine.chat(any(said({})), { template, maxTokens: 1 }).text());
      await note("template key", () => engine.chatTokens(any(said({})), any({ tool: [] })));
      for (const prompt of [undefined, null, 7, {}, { txt: "a" }, { text: 5 }, { tokens: [-1] }, [1.5]]) {
        await note(`generate ${JSON.stringify(prompt)}`, () => engine.generate(any(prompt)).text());
      }
      for (const options of [
        { temperature: Number.NaN },
        { topP: Number.NaN },
        { temperature: "hot" },
        { maxTokens: -1 },
        { maxTokens: 1.5 },
        { maxTokens: Number.NaN },
        { seed: Number.NaN },
        { stop: "no list" },
        { logitBias: { one: 1 } },
        { logitBias: { 1: Number.NaN } },
        { overflow: "slip" },
        { temprature: 1 },
        { experts: 1 },
        { experts: "two" },
        { speculate: 2 },
      ]) {
        await note(Object.keys(options)[0] ?? "", () => engine.generate("a", any(options)).text());
      }
      const alive = await engine.generate("a", { maxTokens: 2, temperature: 0, ignoreStopTokens: true });
      const text = await alive.text();
      const lone = await engine.detokenize(await engine.tokenize("a\ud800b"));
      // What is left out may be undefined.
      const options = { temperature: undefined, maxTokens: 1, stop: undefined };
      await note("undefined", () => engine.generate("a", any(options)).text());
      await engine.close();

      for (const [name, options] of Object.entries({
        "threads 300": { threads: 300 },
        "threads text": { threads: "x" },
        "threads -1": { threads: -1 },
        context: { context: 0 },
        block: { block: 1e6 },
        kv: { kv: "f64" },
        "kv a48": { kv: "a48" },
        experts: { experts: [1, 2] },
        set: { set: 5 },
        "set vocab_size": { set: { vocab_size: "many" } },
        head: { head: 5 },
        kernel: { kernel: "fpga" },
        sha256: { sha256: 5 },
        createWorker: { createWorker: () => 5 },
      })) {
        await note(`load with ${name}`, () => Engine.load(url, any(options)));
      }
      for (const source of [
        undefined,
        null,
        5,
        {},
        { files: 5 },
        { files: [null] },
        { files: [{ blob: 5 }] },
      ]) {
        await note(`load ${JSON.stringify(source)}`, () => Engine.load(any(source)));
      }
      return { outcomes, text, lone };
    },
    { url: `/models/${TINY}/`, tern: TERN_URL },
  );
  const wrong = result.outcomes.filter(([name, code]) => code !== (EXPECTED[name] ?? "bad-option"));
  assert.deepEqual(wrong, []);
  const message = (name: string): unknown => result.outcomes.find(([other]) => other === name)?.[2];
  assert.match(String(message("tokenize undefined")), /^text: /);
  assert.match(String(message("temperature")), /temperature/);
  assert.match(String(message("overflow")), /options: overflow: unknown variant `slip`/);
  assert.match(String(message("experts")), /experts/);
  assert.match(String(message("speculate")), /speculate/);
  assert.match(String(message("load with experts")), /experts/);
  assert.match(String(message("load with set vocab_size")), /vocab_size/);
  assert.match(String(message("temprature")), /unknown field `temprature`/);
  assert.match(String(message("load with threads 300")), /threads/);
  assert.ok(result.text.length > 0);
  assert.equal(result.lone, "a\ufffdb");
});

test("a context that slides never fails", async () => {
  const result = await api.evaluate(async ({ Engine }, url) => {
    const engine = await Engine.load(url);
    const messages = [{ role: "system", content: "You like the sea." }];
    const dropped: number[] = [];
    const seen: number[] = [];
    for (let turn = 0; turn < 30; turn++) {
      messages.push({ role: "user", content: `Tell me something about the number ${turn}, please.` });
      const reply = engine.chat(messages, {
        overflow: "slide",
        maxTokens: 30,
        temperature: 0,
        ignoreStopTokens: true,
        onPrefill: ({ droppedMessages }) => seen.push(droppedMessages),
      });
      messages.push({ role: "assistant", content: await reply.text() });
      const { finishReason, tokens, droppedMessages, droppedTokens } = await reply.summary;
      if (finishReason !== "length" || tokens !== 30) throw new Error(`turn ${turn}: ${finishReason}`);
      if (droppedMessages > 0 !== droppedTokens > 0) throw new Error(`turn ${turn}: ${droppedTokens}`);
      dropped.push(droppedMessages);
    }
    const strict = await engine
      .chat(messages)
      .text()
      .catch((error) => error.code);
    await engine.close();
    return { dropped, seen, strict, context: engine.info.context };
  }, TERN_URL);
  assert.equal(result.context, 512);
  assert.equal(result.strict, "context-full");
  assert.ok((result.dropped.at(-1) ?? 0) > 20, `${result.dropped}`);
  assert.ok(result.dropped.every((count) => result.seen.includes(count)));
});

/** The header of a llama model whose embedding alone would take gigabytes, and `more` bytes of it. */
function bomb(encoding: number, more: number): Buffer {
  const parts: Buffer[] = [];
  const u32 = (value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  const u64 = (value: number): void => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    parts.push(bytes);
  };
  const text = (value: string): void => {
    u64(Buffer.byteLength(value));
    parts.push(Buffer.from(value));
  };
  const numbers = {
    embedding_length: 8192,
    block_count: 1,
    "attention.head_count": 32,
    feed_forward_length: 8192,
    context_length: 128,
  };
  parts.push(Buffer.from("GGUF"));
  u32(3);
  u64(1);
  u64(1 + Object.keys(numbers).length);
  text("general.architecture");
  u32(8);
  text("llama");
  for (const [key, value] of Object.entries(numbers)) {
    text(`llama.${key}`);
    u32(4);
    u32(value);
  }
  text("token_embd.weight");
  u32(2);
  u64(8192);
  u64(1 << 17);
  u32(encoding);
  u64(0);
  const header = Buffer.concat(parts);
  const padding = (32 - (header.length % 32)) % 32;
  return Buffer.concat([header, Buffer.alloc(padding + more)]);
}

test("a response of unknown length takes memory for the bytes that came, not for those promised", async () => {
  const MB = 2 ** 20;
  // F16, Q4_1, Q8_0, TQ2_0: kept as they are, packed anew, and in groups.
  for (const encoding of [1, 3, 8, 35]) {
    for (const more of [500_000, 9 * MB]) {
      const content = bomb(encoding, more);
      server.serve("bomb.gguf", content, { kind: "chunked" });
      const { code, memory } = await api.evaluate(async ({ Engine }) => {
        let memory = 0;
        const createWorker = (): Worker => {
          const worker = new Worker("/tests/test/pages/watched_worker.js", { type: "module" });
          worker.addEventListener("message", ({ data }) => {
            if (typeof data?.memory === "number") memory = data.memory;
          });
          return worker;
        };
        const code = await Engine.load("/models/bomb.gguf", {
          createWorker,
          cache: "none",
          flavour: "simd128",
        }).catch((error) => error.code);
        return { code, memory };
      });
      const name = `type ${encoding}, ${content.length} bytes`;
      assert.equal(code, "truncated", name);
      assert.ok(memory > 0 && memory <= 64 * MB + 4 * content.length, `${name}: ${memory / MB} MB`);
    }
  }
});

test("stopping leaves nothing unhandled, in page or worker", async () => {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`console: ${message.text()}`);
  });
  const result = await api.evaluate(
    async ({ Engine }, { tern, large }) => {
      const unhandled: string[] = [];
      addEventListener("unhandledrejection", ({ reason }) => unhandled.push(String(reason)));
      // The worker's own: its errors come through the same constructor.
      const createWorker = (): Worker => {
        const worker = new Worker("/tests/test/pages/watched_worker.js", { type: "module" });
        worker.addEventListener("message", ({ data }) => {
          if (typeof data?.unhandled === "string") unhandled.push(`worker: ${data.unhandled}`);
        });
        return worker;
      };
      const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
      const engine = await Engine.load(tern, { createWorker });
      const options = { ignoreStopTokens: true, maxTokens: 100 };
      const long = "Once upon a time. ".repeat(20);
      const ends: string[] = [];
      for (const delay of [0, 1, 5, 20]) {
        for (const how of ["stop", "twice", "signal", "return", "ignored"]) {
          const controller = new AbortController();
          const reply = engine.generate(long, { ...options, signal: controller.signal });
          if (delay > 0) await wait(delay);
          if (how === "signal") controller.abort(new Error("enough"));
          else if (how === "return") void reply.return();
          else reply.stop();
          if (how === "twice") reply.stop();
          if (how !== "ignored") ends.push((await reply.summary).finishReason);
        }
      }
      // A load is stopped at every moment.
      for (const delay of [0, 5, 20, 60, 150]) {
        const controller = new AbortController();
        const load = Engine.load(large, { createWorker, signal: controller.signal, cache: "reload" });
        const code = load.then(
          (engine) => engine.close().then(() => "loaded"),
          (error) => error.code,
        );
        await wait(delay);
        controller.abort();
        ends.push(await code);
      }
      const last = engine.generate(long, options);
      await engine.close();
      last.stop();
      await wait(200);
      return { unhandled, ends };
    },
    { tern: TERN_URL, large: "/models/slow/" },
  );
  assert.deepEqual(result.unhandled, []);
  assert.deepEqual(errors, []);
  for (const end of result.ends) assert.equal(end, "cancelled");
});

test("a trap or a dead worker is an error, and a new load works", async () => {
  const result = await api.evaluate(async ({ Engine }, url) => {
    const outcomes: unknown[] = [];
    const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => "none",
        (error) => error.code,
      );
    for (const blow of ["trap", "throw"]) {
      let worker: Worker | undefined;
      const createWorker = (): Worker => {
        worker = new Worker("/tests/test/pages/trap_worker.js", { type: "module" });
        return worker;
      };
      const engine = await Engine.load(url, { createWorker });
      worker?.postMessage(blow);
      const replies = [engine.generate([1, 5]), engine.generate([1, 5])];
      for (const reply of replies) outcomes.push(await codeOf(reply.text()), await codeOf(reply.summary));
      outcomes.push(await codeOf(engine.tokenize("a")));
    }
    const createWorker = (): Worker => new Worker("/tests/no-such-script.js", { type: "module" });
    outcomes.push(await codeOf(Engine.load(url, { createWorker })));
    const engine = await Engine.load(url);
    const reply = engine.generate([1, 5, 9], { maxTokens: 3, ignoreStopTokens: true });
    await reply.text();
    const { tokens } = await reply.summary;
    await engine.close();
    return { outcomes, tokens };
  }, `/models/${TINY}/`);
  assert.deepEqual(result.outcomes, Array(11).fill("crashed"));
  assert.equal(result.tokens, 3);
});

test("loading and closing fifty times does not grow", async () => {
  const session = await browser.newBrowserCDPSession();
  const resident = async (): Promise<number> => {
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    let bytes = 0;
    for (const { id, type } of processInfo) {
      if (type !== "renderer") continue;
      bytes += 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1]);
    }
    return bytes;
  };
  const rounds = async (count: number): Promise<void> => {
    await api.evaluate(
      async ({ Engine }, { count, url }) => {
        for (let i = 0; i < count; i++) {
          const engine = await Engine.load(url);
          await engine.generate([1, 5, 9], { maxTokens: 1 }).text();
          await engine.close();
        }
      },
      { count, url: `/models/${TINY}/` },
    );
    await page.requestGC();
    await new Promise((resolve) => setTimeout(resolve, 1000));
  };
  await rounds(10);
  const before = await resident();
  await rounds(40);
  const grown = (await resident()) - before;
  console.log(
    `resident ${Math.round(before / 2 ** 20)} MiB, ${(grown / 2 ** 20).toFixed(1)} more after 40 loads`,
  );
  // One instance takes over 10 MB: forty that stay could not be missed.
  assert.ok(grown < 48 * 2 ** 20, `grown by ${grown} bytes`);
});
