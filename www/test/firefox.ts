/**
 * The production build in real Firefox, driven over WebDriver BiDi: load, talk, stop, two tabs, take up a broken download,
 * go offline. What this browser must not do is watched as in Chromium: errors on the console, violations of the policy,
 * requests to anywhere else.
 */

import { createReadStream, existsSync, mkdirSync, statSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, resolve } from "node:path";
import { expect, test } from "@playwright/test";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

const FIREFOX = process.env["FIREFOX"] ?? "/usr/bin/firefox-esr";
const DIST = resolve(import.meta.dirname, "../dist");
const PICTURES = resolve(import.meta.dirname, "out/screens");
const SMOLLM2 = "model/SmolLM2-135M-Instruct.Q4_1.gguf";
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
  ".webmanifest": "application/manifest+json",
};

/** How long a busy machine may take. */
const PATIENCE = 240_000;

test.describe.configure({ mode: "serial" });
test.setTimeout(600_000);

let browser: Browser;
let server: Server;
let origin: string;
let page: Page;
const wrong: string[] = [];
/** The ranges that were asked of the large model. */
const ranges: string[] = [];
/** Bytes after which the large model's connection is cut; then nothing more is cut. */
let cut = Number.POSITIVE_INFINITY;

function send(path: string, range: string | undefined, answer: ServerResponse): void {
  const { size } = statSync(path);
  const large = path.endsWith(".gguf");
  const from = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
  if (large) ranges.push(range ?? "all");
  answer.writeHead(range ? 206 : 200, {
    "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
    "Content-Length": size - from,
    "Accept-Ranges": "bytes",
    ETag: `"${size}"`,
    ...(range ? { "Content-Range": `bytes ${from}-${size - 1}/${size}` } : {}),
  });
  const stream = createReadStream(path, { start: from });
  if (large && Number.isFinite(cut)) {
    let sent = 0;
    stream.on("data", (chunk) => {
      sent += chunk.length;
      if (sent < cut) return;
      stream.destroy();
      answer.destroy();
    });
  }
  stream.pipe(answer);
}

async function listen(port = 0): Promise<void> {
  server = createServer((request, answer) => {
    const name = decodeURIComponent(new URL(request.url ?? "", "http://x").pathname).replace(
      /^\/$/,
      "/index.html",
    );
    const smollm2 = process.env["SMOLLM2"];
    const path = smollm2 && name === `/${SMOLLM2}` ? smollm2 : resolve(DIST, `.${name}`);
    if (existsSync(path) && statSync(path).isFile()) send(path, request.headers.range, answer);
    else answer.writeHead(404).end();
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function tab(): Promise<Page> {
  const one = await browser.newPage();
  one.on("pageerror", (error) => wrong.push(`uncaught: ${error instanceof Error ? error.message : error}`));
  one.on("console", (message) => {
    if (message.type() === "error") wrong.push(`console: ${message.text()}`);
  });
  one.on("request", (request) => {
    const url = new URL(request.url());
    if (/^https?:/.test(url.protocol) && url.origin !== origin) wrong.push(`request: ${url}`);
  });
  await one.evaluateOnNewDocument(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      console.error(`CSP: ${violatedDirective} ${blockedURI}`),
    );
  });
  return one;
}

const ready = (one: Page) => one.waitForSelector('.lamp[data-state="ready"]', { timeout: PATIENCE });
const texts = (one: Page, selector: string) =>
  one.$$eval(selector, (found) => found.map((element) => element.textContent));

/** Sends a message, without waiting for the answer. */
async function say(one: Page, text: string): Promise<void> {
  await one.waitForSelector("#composer");
  await one.focus("#composer");
  await one.keyboard.type(text);
  await one.keyboard.press("Enter");
}

async function answered(one: Page, count: number): Promise<void> {
  await one.waitForFunction(
    (wanted) =>
      document.querySelectorAll(".answered .figure").length === wanted &&
      !document.querySelector('.answered[aria-busy="true"]'),
    { timeout: PATIENCE },
    count,
  );
}

test.beforeAll(async () => {
  mkdirSync(PICTURES, { recursive: true });
  await listen();
  browser = await puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, headless: true });
  page = await tab();
  await page.setViewport({ width: 1280, height: 820 });
});

test.afterAll(async () => {
  await browser.close();
  server.close();
});

test.afterEach(() => expect(wrong).toEqual([]));

test("Tern loads by itself and answers", async () => {
  await page.goto(origin);
  await ready(page);
  // The service worker makes the page isolated, which takes one reload.
  await page.waitForFunction(() => window.crossOriginIsolated, { timeout: PATIENCE });
  await ready(page);
  await say(page, "Hello! Who are you?");
  await answered(page, 1);
  expect((await texts(page, ".answered .prose"))[0]).toMatch(/Tern/);
  await page.screenshot({ path: `${PICTURES}/firefox-chat.png` });
});

test("what one tab says appears in the other", async () => {
  const other = await tab();
  await other.goto(page.url());
  await other.waitForSelector(".asked .words");
  await ready(other);
  await say(other, "What sound does a cow make?");
  await answered(other, 2);
  await page.waitForFunction(() => document.querySelectorAll(".answered .figure").length === 2, {
    timeout: PATIENCE,
  });
  expect(await texts(page, ".asked .words")).toEqual(["Hello! Who are you?", "What sound does a cow make?"]);
  await other.close();
});

test("a download that broke with its tab is taken up where it was", async () => {
  test.skip(!process.env["SMOLLM2"], "without the model (./build.sh model)");
  cut = 30_000_000;
  const broken = await tab();
  await broken.goto(`${origin}/?model=${encodeURIComponent(SMOLLM2)}`);
  await say(broken, "Hello");
  await expect.poll(() => ranges.length, { timeout: PATIENCE }).toBeGreaterThan(1);
  await broken.close();
  cut = Number.POSITIVE_INFINITY;
  // That its connection was cut, Firefox says on the console of the tab that is gone.
  wrong.length = 0;
  const before = ranges.length;
  await page.goto(`${origin}/?model=${encodeURIComponent(SMOLLM2)}`);
  await say(page, "What is gravity?");
  await ready(page);
  const from = Number(/^bytes=(\d+)-/.exec(ranges[before] ?? "")?.[1]);
  expect(from).toBeGreaterThan(1_000_000);
});

test("Escape stops an answer, and what was written stays", async () => {
  test.skip(!process.env["SMOLLM2"], "without the model (./build.sh model)");
  await page.waitForSelector(".answered.writing .prose", { timeout: PATIENCE });
  await page.keyboard.press("Escape");
  await answered(page, 1);
  expect((await texts(page, ".answered .figure"))[0]).toContain("stopped");
  expect((await texts(page, ".answered .prose"))[0]?.length).toBeGreaterThan(0);
});

test("without a network the page loads and answers", async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  await page.goto(`${origin}/`);
  await ready(page);
  await say(page, "Hello! Who are you?");
  await answered(page, 1);
  await page.screenshot({ path: `${PICTURES}/firefox-offline.png` });
});
