/** What the eye and the finger need: distances, sizes, one hue, and colours that the system forces. */

import type { Page } from "@playwright/test";
import { answered, ask, expect, STORY, test } from "./page";

const top = (page: Page, selector: string, index: number) =>
  page
    .locator(selector)
    .nth(index)
    .evaluate((one) => one.getBoundingClientRect().top);
const bottom = (page: Page, selector: string, index: number) =>
  page
    .locator(selector)
    .nth(index)
    .evaluate((one) => one.getBoundingClientRect().bottom);

for (const width of [1280, 360]) {
  test.describe(() => {
    test.use({ viewport: { width, height: 740 } });
    test(`an answer is near its question, the next pair apart, at ${width} px`, async ({ open }) => {
      const page = await open({ reply: "Short." });
      await ask(page, "One");
      await ask(page, "Two");
      const near = (await top(page, ".answered", 0)) - (await bottom(page, ".asked", 0));
      const apart = (await top(page, ".asked", 1)) - (await bottom(page, ".answered", 0));
      expect(near).toBeCloseTo(16, 0);
      expect(apart).toBeCloseTo(40, 0);
    });
  });
}

test("the page follows the font size that the browser is set to", async ({ open }) => {
  const page = await open();
  const font = await page.evaluate(() => {
    const all = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
    const rule = all.find((one) => one instanceof CSSStyleRule && one.selectorText === "html");
    return rule instanceof CSSStyleRule ? rule.style.font : "";
  });
  expect(font).toMatch(/^400 100% /);
});

test.describe("by finger", () => {
  test.use({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  const states: Record<string, (page: Page) => Promise<unknown>> = {
    first: async () => {},
    chat: async (page) => {
      await page.getByRole("button", { name: STORY }).click();
      await answered(page);
    },
    drawer: async (page) => {
      await page.getByRole("button", { name: STORY }).click();
      await answered(page);
      await page.getByRole("button", { name: "Conversations" }).click();
    },
    settings: (page) => page.getByRole("button", { name: "Settings", exact: true }).click(),
    models: (page) => page.getByRole("button", { name: /Choose another/ }).click(),
  };
  for (const [name, go] of Object.entries(states))
    test(`everything can be touched: ${name}`, async ({ open }) => {
      const page = await open({ cached: true });
      await go(page);
      const small = await page.evaluate(() =>
        [...document.querySelectorAll("button, input, select, textarea, label.button")]
          .filter(
            (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".unseen, .skip"),
          )
          .filter((one) => !one.matches(".skip, .unseen, .curtain, [type=checkbox]"))
          .map((one) => ({ one, box: one.getBoundingClientRect() }))
          .filter(({ box }) => box.width < 43.5 || box.height < 43.5)
          .map(({ one, box }) => `${one.outerHTML.slice(0, 80)} ${box.width}x${box.height}`),
      );
      expect(small).toEqual([]);
    });
});

test("the probabilities have one hue, and the key has all steps", async ({ open }) => {
  const page = await open();
  await page.getByRole("button", { name: STORY }).click();
  await answered(page);
  await page.getByRole("button", { name: "Show token probabilities" }).click();
  const key = page.locator(".key b");
  await expect(key).toHaveCount(5);
  const shown = await key.evaluateAll((all) => all.map((one) => getComputedStyle(one).backgroundColor));
  expect(new Set(shown).size).toBe(5);
  // `rgb(207, 69, 38)` and `color(srgb 0.81 0.27 0.15 / 0.5)` are one colour, more and less opaque.
  const bare = shown.map((colour) => {
    const parts = (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
    return parts.map((part) => (colour.startsWith("rgb") ? part / 255 : part).toFixed(2)).join(" ");
  });
  expect(new Set(bare).size).toBe(1);
});

test("type in pictures is large enough to read", async ({ open }) => {
  const page = await open({ ternary: true, cached: true }, "#/about");
  await page.getByText("Where the bytes are").waitFor();
  const sizes = await page.locator(".picture text").evaluateAll((all) =>
    all.map((one) => {
      const { width } = one.closest("svg")?.viewBox.baseVal ?? { width: 1 };
      const drawn = one.closest("svg")?.getBoundingClientRect().width ?? 0;
      return (Number.parseFloat(getComputedStyle(one).fontSize) * drawn) / width;
    }),
  );
  expect(Math.min(...sizes)).toBeGreaterThanOrEqual(12.9);
});

test("with forced colours states and shares can still be seen", async ({ open, page }) => {
  await page.emulateMedia({ forcedColors: "active" });
  await open({ ternary: true, cached: true });
  const paint = (selector: string, property: string) =>
    page
      .locator(selector)
      .first()
      .evaluate((one, name) => getComputedStyle(one).getPropertyValue(name), property);
  const ground = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.getByRole("button", { name: STORY }).click();
  await answered(page);
  expect(await paint(".lamp", "background-color")).not.toBe(ground);
  expect(await paint(".asked .words", "border-top-style")).toBe("solid");
  const toggle = page.getByRole("button", { name: "Show token probabilities" });
  await toggle.click();
  expect(await toggle.evaluate((one) => getComputedStyle(one).outlineStyle)).toBe("solid");
  await page.getByRole("button", { name: "About this model" }).click();
  const fills = await page
    .locator(".picture rect[data-trit]")
    .evaluateAll((all) => all.map((one) => getComputedStyle(one).fill));
  expect(new Set(fills).size).toBe(3);
});

test("Bench shows the machine before it runs", async ({ open }) => {
  const page = await open({ cached: true }, "#/bench");
  await expect(page.getByRole("button", { name: "Measure" })).toBeVisible();
  await expect(page.locator(".facts")).toContainText("Cores of this machine");
  await expect(page.locator(".facts")).toContainText("simd128");
});

test("a caret stands where the next word will be", async ({ open }) => {
  const page = await open({ pace: 60 });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.locator(".answered .prose")).toContainText("young tern");
  const caret = () =>
    page.evaluate(() => {
      const last = [...document.querySelectorAll(".prose p")].at(-1);
      return last && getComputedStyle(last, "::after").display;
    });
  expect(await caret()).toBe("inline-block");
  await page.keyboard.press("Escape");
  await answered(page);
  expect(await caret()).not.toBe("inline-block");
});
