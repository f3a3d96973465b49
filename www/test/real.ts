/** The production build with the real engine and a real model: load, talk, look, go offline, talk again. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Page } from "@playwright/test";
import { ask, expect, test } from "./page";

test.use({ serviceWorkers: "allow" });
test.setTimeout(600_000);

/** How long a busy machine may take for a load or an answer. */
const PATIENCE = { timeout: 240_000 };

/** Greedy, so that the answer is the same everywhere: its first words are those of llama.cpp and of exact f32. */
async function greedy(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await page.getByRole("slider", { name: "Temperature" }).fill("0");
  await page.getByRole("slider", { name: "Repetition penalty" }).fill("1");
  await page.getByRole("button", { name: "Close settings" }).click();
}

test("Tern is there without being asked for, and answers", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready", PATIENCE);
  await ask(page, "Hello! Who are you?", PATIENCE);
  await expect(page.locator(".answered .prose")).toContainText(/\w+ \w+/);
  await page.screenshot({ path: "test/out/screens/real-tern.png" });
  await page.getByRole("button", { name: "About this model" }).click();
  await expect(page.getByText(/of its 3.4 M weights are ternary/)).toBeVisible();
  // The same as that of the program, which is held against this file as well.
  const known = JSON.parse(
    readFileSync(resolve(import.meta.dirname, "../../tests/data/fingerprints.json"), "utf8"),
  );
  await page.getByRole("button", { name: "Compute the fingerprint" }).click();
  await expect(page.getByLabel("Fingerprint", { exact: true })).toHaveText(
    known.tern.match(/.{8}/g).join(" "),
    PATIENCE,
  );
  await page.setViewportSize({ width: 1280, height: 1500 });
  await page.screenshot({ path: "test/out/screens/real-tern-about.png" });
});

test("thirty turns with Tern never end in an error", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready", PATIENCE);
  for (let turn = 1; turn <= 30; turn += 1) {
    await ask(page, `Tell me a story about bird number ${turn}.`, PATIENCE);
    await expect(page.getByRole("alert")).toHaveCount(0);
  }
  await expect(page.locator(".horizon")).toHaveCount(1);
  await page.screenshot({ path: "test/out/screens/real-slide.png" });
});

test("the page names its modules up front, compressed copies lie beside them", async ({ open, request }) => {
  const html = await (await request.get("./")).text();
  const named = [...html.matchAll(/<link rel="modulepreload"[^>]*href="\.\/([^"]+)"/g)].map(
    ([, name]) => name,
  );
  const page = await open({ fresh: true });
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready", PATIENCE);
  // Those the page imports itself; workers have their own.
  const imported = await page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .filter((entry) => (entry as PerformanceResourceTiming).initiatorType === "other")
      .map(({ name }) => new URL(name).pathname.slice(1))
      .filter((name) => /^engine\/.*\.js$/.test(name) && !name.endsWith("/worker.js")),
  );
  for (const name of imported) expect(named).toContain(name);
  expect(named.some((name) => name?.endsWith("/dist/index.js"))).toBe(true);
  for (const ending of [".br", ".gz"])
    expect((await request.get(`./${named[0]}${ending}`)).headers()["content-type"]).not.toContain(
      "text/html",
    );
});

/** Drops files of one of the oracles: tiny models with random weights. */
async function dropOracle(page: Page, folder: string): Promise<void> {
  const files = ["config.json", "model.safetensors"].map((name) => {
    const path = resolve(import.meta.dirname, "../../tests/data/oracle2", folder, name);
    return { name, content: readFileSync(path).toString("base64") };
  });
  const data = await page.evaluateHandle((all) => {
    const transfer = new DataTransfer();
    for (const { name, content } of all)
      transfer.items.add(new File([Uint8Array.from(atob(content), (char) => char.charCodeAt(0))], name));
    return transfer;
  }, files);
  await page.dispatchEvent("body", "drop", { dataTransfer: data });
}

test("dropped models show their experts, their loop and their zeros", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready", PATIENCE);
  await page.getByRole("button", { name: "About this model" }).click();
  await expect(page.getByRole("heading", { name: "Where the bytes are" })).toBeVisible();
  await expect(page.getByRole("heading", { name: /Experts|loop|Zeros/ })).toHaveCount(0);

  await dropOracle(page, "moe_sigma");
  await expect(page.getByText("4 of 4 layers have 8 networks each.")).toBeVisible(PATIENCE);
  await expect(page.locator('[data-expert="active"]')).toHaveCount(4 + 2 + 1 + 1);
  await dropOracle(page, "ouro");
  await expect(page.getByText(/layers run 4 times over.* After each pass a gate/)).toBeVisible(PATIENCE);
  await expect(page.locator('[data-looped="false"]')).toHaveCount(0);
  await dropOracle(page, "a48_int4");
  await expect(page.getByText("50.0 % kept")).toBeVisible(PATIENCE);
});

test("SmolLM2 is loaded, answers, is pictured and measured, and answers without a network", async ({
  open,
  context,
}) => {
  test.skip(!process.env["SMOLLM2"], "without the model (./build.sh model)");
  const page = await open();
  await page.waitForFunction(() => window.crossOriginIsolated);
  await greedy(page);
  await ask(page, "What is gravity?", PATIENCE);
  await expect(page.locator(".answered .prose")).toContainText("Gravity is a fundamental concept in physics");
  await page.screenshot({ path: "test/out/screens/real-chat.png" });

  await page.getByRole("button", { name: "Show token probabilities" }).click();
  await page.locator("[data-index]", { hasText: "physics" }).first().hover();
  await expect(page.locator(".odds li")).toHaveCount(6);
  await page.screenshot({ path: "test/out/screens/real-thinking.png" });

  await page.getByRole("button", { name: "About this model" }).click();
  await expect(page.getByText("Layer 29").first()).toBeVisible();
  await expect(page.locator(".facts")).toContainText("49,152");
  await page.screenshot({ path: "test/out/screens/real-about.png" });

  await page.getByRole("button", { name: "Bench" }).click();
  await page.getByRole("button", { name: "Measure" }).click();
  await expect(page.locator(".data tbody tr")).not.toHaveCount(0, PATIENCE);
  await page.screenshot({ path: "test/out/screens/real-bench.png" });
  await page
    .getByRole("button", { name: "Stop" })
    .or(page.getByRole("button", { name: "Measure again" }))
    .click();

  await context.setOffline(true);
  await page.goto("./");
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready", PATIENCE);
  await ask(page, "What is gravity?", PATIENCE);
  await expect(page.locator(".answered .prose")).toContainText("Gravity is a fundamental concept in physics");
  await page.screenshot({ path: "test/out/screens/real-offline.png" });
});
