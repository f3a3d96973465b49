/** For everyone: axe on every state in both lights, no sideways scrolling at 360 px, everything reachable by keyboard. */

import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import type { Script } from "./fake-engine";
import { answered, expect, STORY, test } from "./page";

const story = async (page: Page) => {
  await page.getByRole("button", { name: STORY }).click();
  await answered(page);
};

const STATES: Record<string, { script?: Script; hash?: string; go?: (page: Page) => Promise<unknown> }> = {
  first: {},
  why: { hash: "#/why", go: (page) => page.getByText("Try it").waitFor() },
  chat: { go: story },
  probabilities: {
    go: async (page) => {
      await story(page);
      await page.getByRole("button", { name: "Show token probabilities" }).click();
    },
  },
  settings: { go: (page) => page.getByRole("button", { name: "Settings", exact: true }).click() },
  models: {
    script: { cached: true },
    go: (page) => page.getByRole("button", { name: /Choose another/ }).click(),
  },
  find: { go: (page) => page.keyboard.press("Control+k") },
  about: {
    script: { ternary: true, cached: true },
    hash: "#/about",
    go: (page) => page.getByText("Where the bytes are").waitFor(),
  },
  bench: {
    script: { cached: true, pace: 1 },
    hash: "#/bench",
    go: async (page) => {
      await page.getByRole("button", { name: "Measure" }).click();
      await page.getByRole("button", { name: "Measure again" }).waitFor();
    },
  },
  error: {
    script: { loadError: "network" },
    go: async (page) => {
      await page.getByRole("button", { name: STORY }).click();
      await page.getByRole("alert").waitFor();
    },
  },
};

for (const [name, { script, hash, go }] of Object.entries(STATES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    test.describe(() => {
      test.use({ colorScheme });
      test(`axe finds nothing: ${name}, ${colorScheme}`, async ({ open }) => {
        const page = await open(script, hash);
        await go?.(page);
        const { violations } = await new AxeBuilder({ page }).analyze();
        const found = violations.map(
          ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`,
        );
        expect(found).toEqual([]);
      });
    });
  }
  test.describe(() => {
    test.use({ viewport: { width: 360, height: 640 }, hasTouch: true });
    test(`fits 360 px: ${name}`, async ({ open }) => {
      const page = await open(script, hash);
      await go?.(page);
      const wide = await page.evaluate(() =>
        [...document.querySelectorAll("main, main > *, .scroll, dialog, aside, form")]
          .filter(
            (one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "hidden",
          )
          .map((one) => `${one.tagName}.${one.className}`),
      );
      expect(wide).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    });
  });
}

test.describe("on a phone", () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true });
  test("the drawer opens, takes the focus order with it, and closes", async ({ open }) => {
    const page = await open();
    const drawer = page.getByRole("navigation");
    await expect(drawer).toBeHidden();
    await page.getByRole("button", { name: "Conversations" }).click();
    await expect(drawer).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(drawer).toBeHidden();
    await page.getByRole("button", { name: "Conversations" }).click();
    await page.getByRole("button", { name: "Bench" }).click();
    await expect(drawer).toBeHidden();
    await expect(page.getByRole("heading", { name: "How fast is it here?" })).toBeVisible();
  });
});

test("the keyboard alone reaches the message box and sends", async ({ open }) => {
  const page = await open({ reply: "Heard." });
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Skip to the message" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
  await page.keyboard.type("Hello");
  await page.keyboard.press("Enter");
  await answered(page);
});
