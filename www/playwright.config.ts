/**
 * Tests of the page in real Chromium: `test:page` and `screens` (pictures) against the fake build, `test:real` against the
 * production build with the real engine, wherever that is there, with Tern and where it is there with SmolLM2.
 */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig } from "@playwright/test";

const system = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const chromium = [process.env["CHROMIUM"] ?? "", ...system].find((path) => path && existsSync(path));

const MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf";
const model = resolve(import.meta.dirname, "../.cache/models", MODEL);
const real = existsSync(resolve(import.meta.dirname, "dist/index.html"));
if (!real) console.log("Without dist/ (./build.sh www) the real engine is not tested.");
if (existsSync(model)) process.env["SMOLLM2"] = model;

const FAKE = "http://127.0.0.1:4802/";
const REAL = "http://127.0.0.1:4803/";
const preview = (folder: string, url: string) =>
  `node_modules/.bin/vite preview --mode fake --outDir ${folder} --port ${new URL(url).port}`;

export default defineConfig({
  testDir: "test",
  outputDir: "test/out/results",
  workers: 1,
  timeout: 90_000,
  // Generous, since nothing here measures speed and machines may be busy.
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  use: {
    baseURL: FAKE,
    viewport: { width: 1280, height: 820 },
    launchOptions: {
      ...(chromium ? { executablePath: chromium } : {}),
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
  projects: [
    { name: "test:page", testMatch: "*.spec.ts" },
    { name: "screens", testMatch: "screens.ts" },
    ...(real ? [{ name: "firefox", testMatch: "firefox.ts" }] : []),
    ...(real ? [{ name: "test:real", testMatch: "real.ts", use: { baseURL: REAL } }] : []),
  ],
  webServer: [
    { command: preview("test/out/fake", FAKE), url: FAKE, reuseExistingServer: false, timeout: 240_000 },
    ...(real
      ? [
          {
            command: `rm -rf test/out/real && cp -r dist test/out/real && mkdir -p test/out/real/model && ln -s ${model} test/out/real/model/ && ${preview("test/out/real", REAL)}`,
            url: REAL,
            reuseExistingServer: false,
            timeout: 240_000,
          },
        ]
      : []),
  ],
});
