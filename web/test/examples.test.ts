/** The examples for browsers, with the package as `npm pack` makes it, in Chromium, with Tern. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch } from "./browser.js";
import { ROOT, serve } from "./program.js";

const EXAMPLES = join(ROOT, "examples/web");
const PATIENCE = { timeout: 60_000 };

let folder: string;
let browser: Browser;
let page: Page;
let server: ChildProcess | undefined;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "ternlight-examples-"));
  const pack = ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder];
  const tarball = execFileSync("npm", pack, { cwd: join(ROOT, "web"), encoding: "utf8" }).trim();
  execFileSync("tar", ["-xzf", join(folder, tarball), "-C", folder]);
  browser = await launch();
});
after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  await page.close();
  server?.kill();
});

/** An example in a folder of its own, with the packed package among its modules and other modules as links. */
function project(name: string): string {
  const at = join(folder, name);
  const source = join(EXAMPLES, name);
  cpSync(source, at, { recursive: true, filter: (path) => !/node_modules|dist$/.test(path) });
  mkdirSync(join(at, "node_modules"));
  cpSync(join(folder, "package"), join(at, "node_modules/ternlight"), { recursive: true });
  const modules = join(source, "node_modules");
  for (const module of existsSync(modules) ? readdirSync(modules) : []) {
    if (module !== "ternlight") symlinkSync(join(modules, module), join(at, "node_modules", module));
  }
  return at;
}

/** Opens a served folder with Tern beside its page; whatever the page throws fails the test. */
async function open(at: string): Promise<Error[]> {
  cpSync(join(ROOT, "crates/tern/tern"), join(at, "model/tern"), { recursive: true });
  const { url, child } = await serve(at);
  server = child;
  page = await browser.newPage();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`${url}?model=model/tern/`);
  return errors;
}

test("plain: a page without a bundler answers messages", async () => {
  const errors = await open(project("plain"));
  await page.locator("button:enabled").click(PATIENCE);
  await page.locator("output", { hasText: /\w+ \w+/ }).waitFor(PATIENCE);
  await page.locator("button:enabled").waitFor(PATIENCE);
  assert.deepEqual(errors, []);
});

test("worker: a worker of the page's own calls the engine", async () => {
  const errors = await open(project("worker"));
  await page.locator("output[data-done]").waitFor(PATIENCE);
  const stories = (await page.locator("output").textContent())
    ?.split("\n\n")
    .filter((text) => /\w+ \w+/.test(text));
  // A story may have paragraphs.
  assert.ok(stories !== undefined && stories.length >= 2);
  assert.deepEqual(errors, []);
});

test("vite: a bundled page finds workers and WebAssembly, in every flavour", async () => {
  const at = project("vite");
  const run = (...args: string[]): string => execFileSync("node", args, { cwd: at, encoding: "utf8" });
  run("node_modules/typescript/bin/tsc");
  run("node_modules/vite/bin/vite.js", "build", "--logLevel", "warn");
  const built = readdirSync(join(at, "dist/assets"));
  const flavours = readdirSync(join(folder, "package/generated"));
  assert.ok(built.filter((name) => name.endsWith(".wasm")).length >= flavours.length, built.join());
  const errors = await open(join(at, "dist"));
  await page.locator("button:enabled").click(PATIENCE);
  await page.locator("output", { hasText: /Once upon a time\W+\w+ \w+/ }).waitFor(PATIENCE);
  await page.locator("button:enabled").waitFor(PATIENCE);
  assert.match((await page.locator("#state").textContent()) ?? "", /simd128|relaxed|threads/);
  assert.deepEqual(errors, []);
});
