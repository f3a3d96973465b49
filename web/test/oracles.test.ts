/**
 * Every oracle in Chromium: the logits of its default run have the bits that the native engine computes, which are within the
 * oracle's tolerance of another implementation's (`tests/tab.rs`).
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import type { Browser, JSHandle } from "playwright-core";
import type * as Api from "../src/index.js";
import { launch } from "./browser.js";
import { FaultServer } from "./server.js";

const ROOT = new URL("../../../", import.meta.url);
const DATA = new URL("tests/data/", ROOT);
const SEQUENCES = ["seq_a", "seq_b", "seq_c"] as const;
/** Engines that are loaded at a time. */
const LANES = 2;

let browser: Browser;
let server: FaultServer;
let api: JSHandle<typeof Api>;

before(async () => {
  browser = await launch();
  server = new FaultServer();
  const origin = await server.listen();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  await page.goto(`${origin}/`);
  api = await page.evaluateHandle(
    (): Promise<typeof Api> => import(`${location.origin}/package/dist/index.js`),
  );
});
after(async () => {
  await browser.close();
  await server.close();
});

/** The token ids of the reference's sequences: I32 tensors of a safetensors file. */
function sequences(folder: string): number[][] {
  const file = readFileSync(new URL(`${folder}/reference.safetensors`, DATA));
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    file.toString("utf8", 8, start),
  );
  return SEQUENCES.map((name) => {
    const place = header[`tokens.${name}`]?.data_offsets;
    assert.ok(place, `${folder}: ${name}`);
    const ids: number[] = [];
    for (let at = place[0]; at < place[1]; at += 4) ids.push(file.readInt32LE(start + at));
    return ids;
  });
}

/** Serves a folder, and says where it is and whether the model has cache codes of its own. */
function serve(folder: string): { url: string; codes: boolean } {
  let codes = false;
  for (const name of ["config.json", "model.safetensors", "model.gguf"]) {
    const path = new URL(`${folder}/${name}`, DATA);
    if (!existsSync(path)) continue;
    const content = readFileSync(path);
    if (name === "config.json") codes = content.includes("kv_cache_quantization");
    server.serve(`${folder}/${name}`, content);
  }
  const single = existsSync(new URL(`${folder}/model.gguf`, DATA)) ? "model.gguf" : "";
  return { url: `/models/${folder}/${single}`, codes };
}

/** The bits of a folder's results, in base64: logits, or embeddings of the last token. */
function compute(folder: string): Promise<string[]> {
  const { url, codes } = serve(folder);
  return api.evaluate(
    async ({ Engine }, { url, texts, embeds, options }) => {
      const engine = await Engine.load(url, options);
      const bits: string[] = [];
      for (const ids of texts) {
        const numbers = await (embeds ? engine.embed(ids) : engine.logits(ids));
        const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
        bits.push(btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")));
      }
      await engine.close();
      return bits;
    },
    {
      url,
      texts: sequences(folder),
      embeds: folder.includes("embed"),
      options: {
        cache: "none" as const,
        exactInputs: folder.startsWith("oracle2"),
        ...(codes ? {} : { kv: "f32" as const }),
      },
    },
  );
}

test("the logits of every oracle, bit for bit the native ones", async () => {
  const want: Record<string, string> = JSON.parse(readFileSync(new URL("logits.json", DATA), "utf8"));
  const got: Record<string, string> = {};
  const folders = Object.keys(want);
  assert.ok(folders.length > 40, `${folders.length} folders`);
  const lane = async (): Promise<void> => {
    for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
      const digest = createHash("sha256");
      for (const bits of await compute(folder)) digest.update(Buffer.from(bits, "base64"));
      got[folder] = digest.digest("hex");
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  assert.deepEqual(got, want);
});

test("each token says which experts it went to, or how many passes through the loop it took", async () => {
  const generate = (folder: string) =>
    api.evaluate(async ({ Engine }, url) => {
      const engine = await Engine.load(url, { cache: "none" });
      const options = { maxTokens: 6, temperature: 0, ignoreStopTokens: true };
      const ways: { experts: unknown; loops: unknown }[] = [];
      for (const reportExperts of [true, false]) {
        for await (const { tokens } of engine.generate([3, 1, 4, 1, 5], { ...options, reportExperts }))
          ways.push(...tokens.map(({ experts, loops }) => ({ experts, loops })));
      }
      const { experts, loop, sparseInputs } = engine.info;
      await engine.close();
      return { ways, experts, loop, sparseInputs };
    }, serve(folder).url);
  const mixture = await generate("oracle2/moe_sigma");
  assert.deepEqual(mixture.experts?.active, [4, 2, 1, 1]);
  assert.equal(mixture.ways.length, 12);
  for (const { experts, loops } of mixture.ways.slice(0, 6)) {
    assert.ok(Array.isArray(experts));
    assert.deepEqual(
      experts.map((layer: number[]) => layer.length),
      [4, 2, 1, 1],
    );
    assert.equal(loops, undefined);
  }
  assert.ok(mixture.ways.slice(6).every(({ experts }) => experts === undefined));
  const looped = await generate("oracle2/ouro");
  assert.equal(looped.loop?.exit, "gate");
  assert.equal(looped.experts, undefined);
  assert.ok(looped.ways.every(({ loops, experts }) => loops === 4 && experts === undefined));
  const sparse = await generate("oracle2/a48_int4");
  assert.deepEqual(sparse.sparseInputs, [{ layer: "o", kept: 0.5, block: null }]);
});
