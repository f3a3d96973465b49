/**
 * Takes a picture of every state of the page, from the fake build: `npm run screens -- [folder] [name…]`.
 *
 * Pictures are for looking at; nothing is compared.
 */

import { mkdirSync } from "node:fs";
import { chromium } from "@playwright/test";
import { preview } from "vite";
import { CHROMIUM } from "./chromium.mjs";

const [folder = "test/out/screens", ...only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const server = await preview({ mode: "fake", build: { outDir: "test/out/fake" }, preview: { host: "127.0.0.1", port: 4801 } });
const home = "http://127.0.0.1:4801/";
const browser = await chromium.launch(CHROMIUM);

const WIDE = { width: 1280, height: 820 };
const PHONE = { width: 360, height: 740 };

async function story(page) {
  await page.getByRole("button", { name: /Tell me a short story/ }).click();
}
const answered = (page) => page.getByRole("button", { name: "Answer again" }).last().waitFor();

const STATES = {
  first: { script: {} },
  loading: { script: { load: "forever" }, async go(page) { await story(page); await page.waitForTimeout(900); } },
  writing: { script: { pace: 25 }, async go(page) { await story(page); await page.waitForTimeout(2200); } },
  chat: {
    async go(page) {
      await story(page);
      await answered(page);
      await page.evaluate(() => { window.fake.reply = "Here is a function and a table:\n\n```python\ndef wingbeats(seconds, rate=3.1):\n    return round(seconds * rate)\n```\n\n| Bird | Wing span |\n|---|---|\n| Arctic tern | 80 cm |\n| Common tern | 88 cm |\n\n> Terns hover before they dive.\n\nSee [the list](https://example.org/terns) and <b>no html</b>."; });
      await page.getByRole("textbox", { name: "Message" }).fill("How often does it beat its wings?\nShow me code.");
      await page.keyboard.press("Enter");
      await page.waitForTimeout(300);
      await answered(page);
      await page.waitForTimeout(500);
    },
  },
  thinking: {
    async go(page) {
      await story(page);
      await answered(page);
      await page.getByRole("button", { name: "Show token probabilities" }).click();
      await page.locator('[data-index="31"]').hover();
      await page.waitForTimeout(100);
    },
  },
  settings: { async go(page) { await story(page); await answered(page); await page.getByRole("button", { name: "Settings" }).first().click(); } },
  models: { script: { cached: true }, async go(page) { await page.getByRole("button", { name: /Choose another/ }).click(); } },
  palette: { async go(page) { await story(page); await answered(page); await page.keyboard.press("Control+k"); } },
  about: { script: { ternary: true, load: 50, cached: true }, hash: "#/about", full: true, async go(page) { await page.getByText("Where the bytes are").waitFor(); } },
  "about-plain": { script: { load: 50, cached: true }, hash: "#/about", full: true, async go(page) { await page.getByText("Where the bytes are").waitFor(); } },
  bench: {
    script: { cached: true, load: 50, pace: 4 },
    hash: "#/bench",
    async go(page) { await page.getByRole("button", { name: "Measure" }).click(); await page.getByRole("button", { name: "Measure again" }).waitFor(); await page.waitForTimeout(300); },
  },
  error: { script: { loadError: "truncated" }, async go(page) { await story(page); await page.getByText("The file ends too early").waitFor(); } },
  crash: { script: { replyError: "crashed" }, async go(page) { await story(page); await page.getByText("The engine stopped unexpectedly").waitFor(); } },
};

const LIGHTS = ["light", "dark"];
for (const [name, state] of Object.entries(STATES)) {
  if (only.length > 0 && !only.includes(name)) continue;
  for (const [size, viewport] of [["wide", WIDE], ["phone", PHONE]]) {
    for (const light of LIGHTS) {
      if (light === "dark" && !["first", "chat", "thinking", "about", "bench", "error", "settings"].includes(name)) continue;
      const context = await browser.newContext({ viewport, colorScheme: light, serviceWorkers: "block", hasTouch: size === "phone", deviceScaleFactor: 1 });
      const page = await context.newPage();
      page.on("pageerror", (error) => console.error(name, error.message));
      page.on("console", (message) => message.type() === "error" && console.error(name, message.text()));
      await page.addInitScript((script) => { window.fake = script; }, { pace: 2, ...state.script });
      await page.goto(home + (state.hash ?? ""));
      await page.evaluate(() => document.fonts.ready);
      try {
        await state.go?.(page);
        await page.evaluate(() => document.fonts.ready);
        if (state.full) {
          const height = await page.evaluate(() => document.querySelector(".page").scrollHeight + 80);
          await page.setViewportSize({ width: viewport.width, height: Math.max(viewport.height, Math.min(height, 2200)) });
          await page.waitForTimeout(150);
        }
      } catch (error) {
        console.error(name, size, light, String(error).split("\n")[0]);
      }
      await page.screenshot({ path: `${folder}/${name}-${size}-${light}.png` });
      await context.close();
    }
  }
}
await browser.close();
await new Promise((resolve) => server.httpServer.close(resolve));
process.exit(0);
