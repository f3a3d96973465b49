/** Many conversations: found by their words, pinned, taken out and brought back; each with its own way of answering. */

import { readFileSync, writeFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { ask, expect, test } from "./page";

const words = (page: Page) => page.locator(".asked .words");
const newChat = (page: Page) => page.getByRole("button", { name: "New chat" }).click();

async function three(page: Page): Promise<void> {
  for (const [question, reply] of [
    ["About birds", "The **Arctic** tern flies from pole to pole."],
    ["About fish", "A herring swims in a shoal."],
    ["About stones", "Granite is hard. Nothing flies there."],
  ] as const) {
    await newChat(page);
    await page.evaluate((text) => Object.assign(window.fake ?? {}, { reply: text }), reply);
    await ask(page, question);
  }
}

test("a search looks into every message and version, and opens it there", async ({ open }) => {
  const page = await open();
  await three(page);
  await page.evaluate(() => Object.assign(window.fake ?? {}, { reply: "Basalt came from a volcano." }));
  await page.getByRole("button", { name: "Answer again" }).click();
  await expect(page.locator(".answered .prose")).toHaveText("Basalt came from a volcano.");
  await page.reload();
  const field = page.getByRole("searchbox", { name: "Search conversations" });
  await field.fill("FLIES");
  const found = page.locator(".hit");
  await expect(found).toHaveCount(2);
  await field.fill("flies granite");
  await expect(found).toHaveCount(1);
  await expect(found.locator("mark")).toHaveText("flies");
  await expect(found).toContainText("About stones");
  await page.keyboard.press("Enter");
  // The earlier version is the one that has the words.
  await expect(page.locator(".answered .prose")).toHaveText("Granite is hard. Nothing flies there.");
  await expect(page.locator(".answered")).toHaveClass(/found/);
  await field.fill("birds");
  await expect(found).toHaveCount(1);
  await field.fill("nowhere at all");
  await expect(page.getByText("Nothing found")).toBeVisible();
  await field.press("Escape");
  await expect(page.locator(".chats .open")).toHaveCount(3);

  // What is said from now on is found, too.
  await ask(page, "And a rare word: zirconium");
  await field.fill("zirconium");
  await expect(found).toHaveCount(1);
});

test("what another tab says is found here", async ({ open, openTab }) => {
  const first = await open({ reply: "Yes." });
  await ask(first, "One");
  const field = first.getByRole("searchbox", { name: "Search conversations" });
  await field.fill("one");
  await expect(first.locator(".hit")).toHaveCount(1);
  const second = await openTab({ reply: "Feldspar." });
  await ask(second, "Two");
  await field.fill("feldspar");
  await expect(first.locator(".hit")).toHaveCount(1);
});

test("pinned conversations stay at the top, also after a reload", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await three(page);
  await page.getByRole("button", { name: "More for About birds" }).click();
  await page.getByRole("button", { name: "Pin to the top" }).click();
  const titles = page.locator(".chats .open");
  await expect(titles).toHaveText(["About birds", "About stones", "About fish"]);
  await expect(page.getByRole("heading", { name: "Pinned" })).toBeVisible();
  await page.reload();
  await expect(titles).toHaveText(["About birds", "About stones", "About fish"]);
  await page.getByRole("button", { name: "More for About birds" }).click();
  await page.getByRole("button", { name: "Unpin" }).click();
  await expect(titles).toHaveText(["About stones", "About fish", "About birds"]);
});

async function exported(page: Page): Promise<string> {
  await page.getByRole("button", { name: "All conversations" }).click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export all as JSON" }).click(),
  ]);
  return download.path();
}

async function bringIn(page: Page, path: string): Promise<void> {
  await page.keyboard.press("Control+k");
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    page.keyboard.type("Import conv").then(() => page.keyboard.press("Enter")),
  ]);
  await chooser.setFiles(path);
}

test("all conversations go into one file and come back whole; a damaged one changes nothing", async ({
  open,
  browser,
  baseURL,
}, info) => {
  const page = await open();
  await three(page);
  await page.getByRole("button", { name: "Edit and ask again" }).click();
  await page.getByRole("textbox", { name: "Edit the question" }).fill("About sand");
  await page.keyboard.press("Enter");
  await expect(words(page)).toHaveText(["About sand"]);
  await page.getByRole("button", { name: "Answer again" }).waitFor();
  const path = await exported(page);
  const text = readFileSync(path, "utf8");
  expect(JSON.parse(text).chats).toHaveLength(3);

  // Another browser, with nothing in it but one conversation.
  const context = await browser.newContext({ serviceWorkers: "block", ...(baseURL ? { baseURL } : {}) });
  const other = await context.newPage();
  await other.addInitScript(() => {
    window.fake = { pace: 1, load: 10, reply: "Own." };
  });
  await other.goto("./");
  await ask(other, "My own");
  const titles = other.locator(".chats .open");

  const damaged = info.outputPath("damaged.json");
  for (const [content, message] of [
    [text.slice(0, text.length / 2), /Nothing was imported: damaged\.json is damaged or not JSON/],
    [
      text.replace('"role":"user"', '"role":"robot"'),
      /chats\[\d\]\.messages\[\d\]\.role is neither user nor assistant/,
    ],
    [text.replace('"version":1', '"version":9'), /damaged\.json has version 9; this page reads version 1/],
    ["{}", /holds no conversations of this page/],
    [text.replace(/"created":\d+/, '"created":"soon"'), /\.created is not a number/],
  ] as const) {
    writeFileSync(damaged, content);
    await bringIn(other, damaged);
    await expect(other.locator(".notice")).toContainText(message);
    await other.locator(".notice").getByRole("button", { name: "Close" }).click();
    await expect(titles).toHaveText(["My own"]);
  }

  await bringIn(other, path);
  await expect(other.locator(".notice")).toContainText("Imported 3 conversations with 8 new messages");
  await expect(titles).toHaveCount(4);
  await other.reload();
  await expect(titles).toHaveCount(4);
  await titles.filter({ hasText: "About sand" }).click();
  await expect(words(other)).toHaveText(["About sand"]);
  await expect(other.locator(".asked").getByText("2 / 2")).toBeVisible();
  await other.getByRole("button", { name: "Show token probabilities" }).click();
  await expect(other.locator("[data-index]").first()).toBeVisible();
  // Once more adds nothing.
  await bringIn(other, path);
  await expect(other.locator(".notice")).toContainText("0 new messages; 8 messages were here already");
  await expect(titles).toHaveCount(4);
  await context.close();
});

test("settings changed in a conversation are its own; presets and named system prompts set them", async ({
  open,
}) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "Careful");
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  const temperature = page.getByRole("slider", { name: "Temperature" });
  const precise = page.getByRole("button", { name: "Precise" });
  await expect(page.getByRole("button", { name: "Balanced" })).toHaveAttribute("aria-pressed", "true");
  await precise.click();
  await expect(precise).toHaveAttribute("aria-pressed", "true");
  await expect(temperature).toHaveValue("0.2");
  await expect(page.getByText("For this conversation only.")).toBeVisible();
  const system = page.getByRole("textbox", { name: "System prompt", exact: true });
  await system.fill("Answer like a pirate.");
  await page.getByRole("button", { name: "Save under a name" }).click();
  await page.getByRole("textbox", { name: "Name of the system prompt" }).fill("Pirate");
  await page.keyboard.press("Enter");

  await newChat(page);
  await expect(temperature).toHaveValue("0.7");
  await expect(system).toHaveValue("");
  await page.getByRole("combobox", { name: "Named system prompts" }).selectOption("Pirate");
  await expect(system).toHaveValue("Answer like a pirate.");
  await ask(page, "Ahoy");
  await expect.poll(() => page.evaluate(() => window.asked?.system)).toBe("Answer like a pirate.");
  expect(await page.evaluate(() => window.asked?.temperature)).toBe(0.7);

  await page.reload();
  await page.locator(".chats .open", { hasText: "Careful" }).click();
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await expect(temperature).toHaveValue("0.2");
  await ask(page, "Again");
  expect(await page.evaluate(() => window.asked?.temperature)).toBe(0.2);
  await page.getByRole("button", { name: "Back to the usual ones" }).click();
  await expect(temperature).toHaveValue("0.7");
  await expect(system).toHaveValue("Answer like a pirate.");
});

test("each answer says which model gave it", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "One");
  await expect(page.locator(".answered .by")).toHaveText("SmolLM2 135M Instruct");
});
