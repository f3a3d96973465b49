/**
 * The packed package in real projects: `npm pack`, installed into each folder beside this file, built with the
 * project's own tools, and run headless. Each asks Tern the same question and must hear the same answer.
 *
 *   node packaging/run.mjs [PROJECT...]
 *
 * A project with `main.js` and no build runs in Node.js; any other is built into `out/` and opened in Chromium,
 * where it puts the answer into `globalThis.answer`.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const WEB = fileURLToPath(new URL("..", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** The model that comes with the repository. */
const TERN = join(ROOT, "crates/tern/tern");
const ANSWER = /^I am Tern, a small language model/;
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

const work = mkdtempSync(join(tmpdir(), "ternlight-packaging-"));
const run = (folder, program, ...args) =>
  execFileSync(program, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

try {
  const [{ filename, size, files }] = JSON.parse(run(WEB, "npm", "pack", "--json", "--pack-destination", work));
  console.log(`${filename}: ${(size / 1e6).toFixed(1)} MB, ${files.length} files`);
  const tarball = join(work, filename);
  lint(tarball);
  const wanted = process.argv.slice(2);
  const projects = readdirSync(HERE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of projects) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const project = join(work, name);
    cpSync(join(HERE, name), project, { recursive: true });
    run(project, "npm", "install", "--no-audit", "--no-fund", "--loglevel=error", tarball);
    const { scripts = {} } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
    let answer;
    if (scripts.build === undefined) {
      answer = run(project, process.execPath, "main.js", TERN);
    } else {
      run(project, "npm", "run", "--silent", "build");
      answer = await inBrowser(join(project, "out"));
    }
    assert.match(answer, ANSWER, name);
    console.log(`${name}: ok`);
  }
} finally {
  rmSync(work, { recursive: true });
}

/** What package linters find. */
function lint(tarball) {
  const bin = join(WEB, "node_modules", ".bin");
  run(WEB, join(bin, "publint"), "run", tarball, "--strict");
  console.log("publint: clean");
  run(WEB, join(bin, "attw"), tarball, "--profile", "esm-only");
  console.log("arethetypeswrong: clean");
}

async function inBrowser(folder) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = path.startsWith("/tern/")
      ? join(TERN, path.slice("/tern/".length))
      : join(folder, path.endsWith("/") ? `${path}index.html` : path);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
    // The strictest policy that the package promises to run under.
    response.setHeader(
      "Content-Security-Policy",
      "default-src 'self'; img-src 'self' data:; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'",
    );
    response.end(request.method === "HEAD" ? undefined : readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  try {
    const page = await browser.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const answer = await page
      .waitForFunction(() => globalThis.answer, null, { timeout: 60_000 })
      .catch((error) => assert.fail(`${error}\n${problems.join("\n")}`));
    assert.deepEqual(
      problems.filter((text) => !text.includes("404")),
      [],
    );
    return await answer.jsonValue();
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
  }
}
