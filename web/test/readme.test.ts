/**
 * Every TypeScript snippet of the documentation, compiled against the built package and run in Chromium as it stands there.
 *
 * Snippets share the page's `output` element. The Hugging Face Hub is played by a route that answers for any
 * model with Tern, which the command line program turns into a GGUF file.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./browser.js";
import { program, ROOT } from "./program.js";
import { FaultServer } from "./server.js";

const WEB = join(ROOT, "web");
const OUT = join(WEB, ".build/readme");
const DOCUMENTS = ["README.md", "web/README.md"];
interface Snippet {
  readonly path: string;
  readonly code: string;
}

function snippets(): Snippet[] {
  return DOCUMENTS.flatMap((path) => {
    const text = readFileSync(join(ROOT, path), "utf8");
    return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => ({ path, code }));
  });
}

let browser: Browser;
let server: FaultServer;
let origin: string;
let model: Buffer;

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), "ternlight-readme-"));
  const out = join(folder, "model.gguf");
  const env = { ...process.env, TERNLIGHT_CACHE: folder, TERNLIGHT_MODEL: "" };
  execFileSync(program(), ["--quiet", "convert", "--format", "i2_s", "--out", out], { env });
  model = readFileSync(out);
  rmSync(folder, { recursive: true });
  browser = await launch();
  server = new FaultServer();
  origin = await server.listen();
});
after(async () => {
  await browser.close();
  await server.close();
});

test("the documents have snippets", () => {
  const found = snippets().map(({ path }) => path);
  for (const path of DOCUMENTS) assert.ok(found.includes(path), path);
});

test("snippets compile against the types of the built package", () => {
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT, { recursive: true });
  const all = snippets();
  for (const [i, { code }] of all.entries()) {
    writeFileSync(join(OUT, `snippet${i}.ts`), `declare const output: HTMLOutputElement;\n${code}`);
  }
  const config = {
    extends: "../../tsconfig.json",
    compilerOptions: { rootDir: ".", outDir: ".", declaration: false, noUnusedLocals: true },
    files: all.map((_, i) => `snippet${i}.ts`),
  };
  writeFileSync(join(OUT, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(WEB, "node_modules/.bin/tsc");
  try {
    execFileSync(tsc, ["-p", OUT], { encoding: "utf8" });
  } catch (thrown) {
    assert.fail(thrown instanceof Error && "stdout" in thrown ? String(thrown.stdout) : String(thrown));
  }
});

for (const [i, { path, code }] of snippets().entries()) {
  test(`snippet ${i} (${path}) runs and writes what the model says`, async () => {
    const context = await browser.newContext();
    const asked: string[] = [];
    await context.route("https://huggingface.co/**", async (route) => {
      const { pathname } = new URL(route.request().url());
      asked.push(pathname);
      const headers = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*" };
      const listing = [{ type: "file", path: "model.gguf", size: model.length }];
      if (pathname.startsWith("/api/models/")) await route.fulfill({ headers, json: listing });
      else await route.fulfill({ headers, body: model });
    });
    const page = await context.newPage();
    const failed = new Promise<never>((_, reject) => {
      page.on("pageerror", (error) => reject(error));
    });
    await page.goto(`${origin}/`);
    const ran = page.evaluate(async (url) => {
      document.body.innerHTML = '<output id="output"></output>';
      const map = document.createElement("script");
      map.type = "importmap";
      map.textContent = JSON.stringify({ imports: { ternlight: "/package/dist/index.js" } });
      document.head.append(map);
      await import(url);
      return document.body.textContent;
    }, `${origin}/tests/readme/snippet${i}.js`);
    const text = await Promise.race([ran, failed]);
    if (code.includes("output.")) assert.match(text ?? "", /\w+ \w+/);
    if (code.includes('"hf:')) assert.ok(asked.some((name) => name.endsWith(".gguf")));
    await context.close();
  });
}
