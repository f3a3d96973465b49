/** Loading models: what works stays until something else works, errors are true and quick, nothing large comes unasked. */

import type { Page } from "@playwright/test";
import type { Script } from "./fake-engine";
import { ask, expect, STORY, test } from "./page";

const chip = (page: Page, name: string, state: string) =>
  page.getByRole("button", { name: new RegExp(`${name} \\(${state}\\)`) });

const change = (page: Page, script: { [Key in keyof Script]: Script[Key] | undefined }) =>
  page.evaluate((wanted) => Object.assign(window.fake ?? {}, wanted), script);

async function loadAddress(page: Page, address: string): Promise<void> {
  await page.getByRole("button", { name: /Choose another/ }).click();
  await page.getByRole("textbox", { name: "Address of a model" }).fill(address);
  await page.keyboard.press("Enter");
}

async function drop(page: Page, name: string, content: string): Promise<void> {
  const data = await page.evaluateHandle(
    ([name, content]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([content], name));
      return transfer;
    },
    [name, content] as const,
  );
  await page.dispatchEvent("body", "drop", { dataTransfer: data });
}

test("a load that fails leaves the model that worked, and the way back to it", async ({ open }) => {
  const page = await open({ fresh: true, reply: "Still here." });
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  await change(page, { loadError: "bad-magic" });
  await loadAddress(page, "https://example.org/nothing.gguf");
  await expect(page.getByRole("alert")).toContainText("This is not a model file");
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  await ask(page, "Are you there?");
  await expect(page.locator(".answered .prose")).toHaveText("Still here.");
  await page.getByRole("button", { name: "Back to Tern" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(chip(page, "Tern", "ready")).toBeVisible();
});

test("the model that works answers while another one loads", async ({ open }) => {
  const page = await open({ fresh: true, reply: "At once." });
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  await change(page, { load: "forever" });
  await loadAddress(page, "https://example.org/slow.gguf");
  await expect(page.getByRole("progressbar")).toBeVisible();
  await ask(page, "Do I have to wait?");
  await expect(page.locator(".answered .prose")).toHaveText("At once.");
  await page.getByRole("button", { name: "Cancel loading" }).click();
  await expect(page.getByRole("progressbar")).toHaveCount(0);
  await expect(chip(page, "Tern", "ready")).toBeVisible();
});

test("after a bad address the next question asks the model from before", async ({ open }) => {
  const page = await open({ loadError: "http", reply: "Back again." });
  await loadAddress(page, "https://example.org/missing.gguf");
  await expect(page.getByRole("alert")).toContainText("The server did not give the file");
  await change(page, { loadError: undefined });
  await ask(page, "Who answers?");
  await expect(page.locator(".answered")).toContainText("SmolLM2 135M Instruct answered");
  expect(await page.evaluate(() => window.loadedFrom)).toContain("SmolLM2");
});

test("a file that is neither model nor text changes nothing", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  await drop(page, "picture.bin", "\u0000\u0001");
  await expect(page.locator(".notice")).toContainText("picture.bin is no text");
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await drop(page, "model-without-ending", "GGUF and so on");
  await expect(chip(page, "SmolLM2 135M Instruct", "ready")).toBeVisible();
});

test("a host that does not answer is named as such within three seconds", async ({ open }) => {
  const page = await open({ unreachable: true });
  await loadAddress(page, "hf:owner/repo/model.gguf");
  const start = Date.now();
  await expect(page.getByRole("alert")).toContainText("The host does not answer.");
  expect(Date.now() - start).toBeLessThan(3000);
  await expect(page.getByRole("alert")).not.toContainText("What has arrived");
});

test("without a network that is said within three seconds", async ({ open, context }) => {
  const page = await open({ unreachable: true });
  // The page's own files are there before the network goes.
  await page.waitForLoadState("networkidle");
  await context.setOffline(true);
  await page.waitForFunction(() => !navigator.onLine);
  const start = Date.now();
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByRole("alert")).toContainText("This machine is offline.");
  expect(Date.now() - start).toBeLessThan(3000);
});

test("an interrupted download is still tried for long", async ({ open }) => {
  const page = await open({ loadError: "network" });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByRole("alert")).toContainText("The download was interrupted.");
});

test("1.2 GB are fetched only after a yes", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  const load = async () => {
    await page.getByRole("button", { name: /Choose another/ }).click();
    await page.getByRole("button", { name: "Load BitNet b1.58 2B 4T" }).click();
  };
  await load();
  const dialog = page.getByRole("dialog", { name: "Fetch BitNet b1.58 2B 4T?" });
  await expect(dialog).toContainText("huggingface.co");
  await dialog.getByRole("button", { name: "Not now" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(chip(page, "Tern", "ready")).toBeVisible();
  expect(await page.evaluate(() => window.loadedFrom)).toContain("tern");
  await load();
  await dialog.getByRole("button", { name: "Fetch 1.19" }).click();
  await expect(chip(page, "BitNet b1.58 2B 4T", "ready")).toBeVisible();
});

test("an address that the page's address brought is asked about, and not remembered", async ({ open }) => {
  const page = await open({ fresh: true, reply: "Yes." }, "?model=https://models.example.org/tern.gguf");
  await page.getByRole("textbox", { name: "Message" }).fill("Hello");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Fetch tern?" });
  await expect(dialog).toContainText("models.example.org");
  await dialog.getByRole("button", { name: "Fetch" }).click();
  await expect(page.locator(".answered .prose")).toHaveText("Yes.");
  await page.goto("./");
  await expect(chip(page, "Tern", "ready")).toBeVisible();
});

test("a model that this host does not have comes from its place on the web", async ({ open, page }) => {
  let here = false;
  await page.route("**/model/*.gguf", (route) =>
    here
      ? route.fulfill({ contentType: "application/octet-stream", body: "" })
      : route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
  );
  await open({ reply: "Yes." });
  await ask(page, "Hello");
  expect(await page.evaluate(() => window.loadedFrom)).toContain("hf:QuantFactory/");
  here = true;
  await page.reload();
  await ask(page, "Hello");
  expect(await page.evaluate(() => window.loadedFrom)).toBe('"model/SmolLM2-135M-Instruct.Q4_1.gguf"');
});

test("the context cannot be set beyond what the model was trained for", async ({ open }) => {
  const page = await open({ cached: true });
  await expect(chip(page, "SmolLM2 135M Instruct", "ready")).toBeVisible();
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  const context = page.getByRole("spinbutton", { name: "Context" });
  await context.fill("131072");
  await context.blur();
  await expect(context).toHaveValue("8192");
  await expect(page.getByText(/at most 8,192/)).toBeVisible();
});

test("the focus never falls off the page", async ({ open }) => {
  const page = await open({ pace: 30 });
  const focused = (name: string) => expect(page.getByRole("textbox", { name })).toBeFocused();
  await page.getByRole("button", { name: STORY }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await focused("Message");
  await expect(page.getByRole("button", { name: "Stop" })).toHaveCount(0);
  await focused("Message");

  await change(page, { pace: 1 });
  const edit = page.getByRole("button", { name: "Edit and ask again" });
  await edit.click();
  await focused("Edit the question");
  await page.keyboard.press("Escape");
  await expect(edit).toBeFocused();
  await edit.click();
  await page.keyboard.press("Enter");
  await focused("Message");

  await page.getByRole("button", { name: "Answer again" }).click();
  await focused("Message");
  await expect(page.getByRole("button", { name: "Stop" })).toHaveCount(0);
  await change(page, { load: "forever" });
  await loadAddress(page, "https://example.org/slow.gguf");
  await page.getByRole("button", { name: "Cancel loading" }).click();
  await focused("Message");

  await page.getByRole("button", { name: /^More for/ }).click();
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByRole("textbox", { name: "Name of the conversation" }).fill("Pell");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("navigation").getByRole("button", { name: "Pell", exact: true })).toBeFocused();
});
