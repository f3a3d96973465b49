/**
 * The page under test: opened with a script for the fake engine, watched for everything that must never happen.
 *
 * Every test fails on a CSP violation, an uncaught error, an error on the console, or a request to another origin.
 */

import { test as base, expect, type Page } from "@playwright/test";
import type { Script } from "./fake-engine";

type Open = (script?: Script, hash?: string) => Promise<Page>;

interface Fixtures {
  open: Open;
  /** One more tab of the same browser, as watched as the first. */
  openTab: Open;
}

/** Notes in `wrong` what must never happen on `page`, and gives what opens it. */
async function watched(page: Page, origin: string, wrong: string[]): Promise<Open> {
  page.on("pageerror", (error) => wrong.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    // Chromium asks again for the tab's icon when the address changes, with or without a network.
    const icon =
      message.text().includes("ERR_INTERNET_DISCONNECTED") && /icon\.svg$/.test(message.location().url);
    if (message.type() === "error" && !icon)
      wrong.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (/^https?:/.test(url.protocol) && url.origin !== origin) wrong.push(`request: ${url}`);
  });
  await page.exposeFunction("violated", (what: string) => wrong.push(`CSP: ${what}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      const { violated } = window as unknown as { violated: (what: string) => void };
      violated(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return async (script = {}, hash = "") => {
    await page.addInitScript(
      (wanted) => {
        window.fake = wanted;
        // As after a visit with this model; `fresh` is a first one.
        if (!wanted.fresh) localStorage.setItem("model", "model/SmolLM2-135M-Instruct.Q4_1.gguf");
      },
      { pace: 2, load: 40, ...script },
    );
    await page.goto(`./${hash}`);
    // A page that becomes isolated reloads once, whatever is being evaluated in it.
    await expect(() => page.evaluate(() => document.fonts.ready)).toPass();
    return page;
  };
}

export const test = base.extend<Fixtures>({
  serviceWorkers: "block",
  open: async ({ page, baseURL }, use) => {
    const wrong: string[] = [];
    await use(await watched(page, new URL(baseURL ?? "").origin, wrong));
    expect(wrong).toEqual([]);
  },
  openTab: async ({ context, baseURL }, use) => {
    const wrong: string[] = [];
    await use(async (script, hash) => {
      const open = await watched(await context.newPage(), new URL(baseURL ?? "").origin, wrong);
      return open(script, hash);
    });
    expect(wrong).toEqual([]);
  },
});

export { expect };

export const STORY = /Tell me a short story/;

/** Sends a message and waits for the whole answer. */
export async function ask(page: Page, text: string, patience?: { timeout: number }): Promise<void> {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
  await answered(page, patience);
}

export async function answered(page: Page, patience?: { timeout: number }): Promise<void> {
  await expect(page.getByRole("button", { name: "Stop" })).toHaveCount(0, patience);
  await expect(
    page
      .locator(".turn")
      .last()
      .getByText(/tokens, .* tok\/s/),
  ).toBeVisible();
}
