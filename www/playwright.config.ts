/** Tests of the page in real Chromium, against the fake build (`page`), and pictures of every state (`screens`). */

import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync,
);
const PORT = 4802;

export default defineConfig({
  testDir: "test",
  outputDir: "test/out/results",
  workers: 1,
  timeout: 90_000,
  // Generous, since nothing here measures speed and machines may be busy.
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  use: {
    baseURL: `http://127.0.0.1:${PORT}/`,
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
    { name: "page", testMatch: "*.spec.ts" },
    { name: "screens", testMatch: "screens.ts" },
  ],
  webServer: {
    command: `npx vite preview --mode fake --outDir test/out/fake --port ${PORT}`,
    url: `http://127.0.0.1:${PORT}/`,
    reuseExistingServer: false,
  },
});
