/** The package in Node.js: paths, the cache on disk, threads, errors. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type * as Api from "../src/node/index.js";
import { FaultServer } from "./server.js";

const WEB = new URL("../../", import.meta.url);
const TERN = fileURLToPath(new URL("../crates/tern/tern", WEB));
const FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "model.safetensors",
];
const QUESTION = [{ role: "user", content: "Hello, who are you?" }];
const ANSWER = /^I am Tern, a small language model/;

const folder = mkdtempSync(join(tmpdir(), "ternlight-node-"));
process.env["TERNLIGHT_CACHE"] = folder;
const { Engine, cache }: typeof Api = await import(new URL("dist/node/index.js", WEB).href);
const server = new FaultServer();
let origin: string;

before(async () => {
  origin = await server.listen();
});
after(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

async function answer(source: string | URL, options: Api.LoadOptions = {}): Promise<string> {
  const engine = await Engine.load(source, options);
  const text = await engine.chat(QUESTION, { temperature: 0, maxTokens: 24 }).text();
  await engine.close();
  return text;
}

test("a folder and a file, by path", async () => {
  assert.match(await answer(TERN), ANSWER);
  assert.match(await answer(new URL("../crates/tern/tern/", WEB)), ANSWER);
  assert.match(await answer(join(TERN, "model.safetensors"), { threads: 1 }), ANSWER);
  assert.deepEqual(await cache.list(), [], "what is on the disk already is not copied");
});

test("every flavour that runs here gives the same text", async () => {
  for (const flavour of ["simd128", "relaxed", "threads"] as const) {
    const text = await answer(TERN, { flavour, threads: 2 }).catch((error) => error.code);
    // Older versions of Node.js lack relaxed SIMD.
    if (text !== "unsupported-browser" || flavour === "simd128") assert.match(text, ANSWER, flavour);
  }
});

test("the fingerprint is the one of the program, in every flavour", async () => {
  const known = JSON.parse(readFileSync(new URL("../tests/data/fingerprints.json", WEB), "utf8"));
  for (const flavour of ["simd128", "relaxed", "threads"] as const) {
    const load = Engine.load(TERN, { flavour, threads: 2 });
    const engine = await load.catch((error) => error.code as string);
    if (typeof engine === "string") {
      assert.equal(engine, "unsupported-browser");
      assert.notEqual(flavour, "simd128");
      continue;
    }
    assert.equal(await engine.fingerprint(), known.tern, flavour);
    await engine.close();
  }
});

test("a download is kept on disk, and loads again without the network", async () => {
  for (const name of FILES) server.serve(`tern/${name}`, readFileSync(join(TERN, name)));
  const address = `${origin}/models/tern/`;
  assert.match(await answer(address), ANSWER);
  assert.equal((await cache.list()).filter(({ complete }) => complete).length, FILES.length);
  server.models.clear();
  const requests = server.seen.length;
  assert.match(await answer(address), ANSWER);
  assert.equal(server.seen.length, requests);
  await cache.remove(`${address}model.safetensors`);
  assert.equal((await cache.list()).length, FILES.length - 1);
  await cache.clear();
  assert.deepEqual(readdirSync(join(folder, "ternlight-web", "ternlight")), []);
});

test("what goes wrong has a code", async () => {
  const code = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => "none",
      (error) => error.code,
    );
  assert.equal(await code(Engine.load(join(TERN, "nothing.gguf"))), "source");
  const empty = mkdtempSync(join(tmpdir(), "ternlight-empty-"));
  assert.equal(await code(Engine.load(empty)), "bad-source");
  rmSync(empty, { recursive: true });
  assert.equal(await code(Engine.load(join(TERN, "README.md"))), "truncated");
  assert.equal(await code(Engine.load(TERN, { threads: 300 })), "bad-option");
  const engine = await Engine.load(TERN);
  const reply = engine.generate("Once", { maxTokens: 1000, ignoreStopTokens: true });
  await reply.next();
  reply.stop();
  assert.equal((await reply.summary).finishReason, "cancelled");
  await engine.close();
  assert.equal(await code(engine.tokenize("a")), "closed");
});
