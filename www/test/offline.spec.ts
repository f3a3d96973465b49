/** The service worker: the page without a network, and isolation on a server that sets no headers. */

import { answered, expect, STORY, test } from "./page";

test.use({ serviceWorkers: "allow" });

test("a first visit becomes isolated by itself, and the next one needs no network", async ({
  open,
  context,
}) => {
  const page = await open();
  await page.waitForFunction(() => window.crossOriginIsolated);
  await page.waitForFunction(async () => {
    const names = await caches.keys();
    return names.some((name) => name.startsWith("ternlight-shell-"));
  });
  await context.setOffline(true);
  await page.reload();
  await expect(page.getByRole("heading", { name: "A language model, in this tab." })).toBeVisible();
  expect(await page.evaluate(() => window.crossOriginIsolated)).toBe(true);
  expect(await page.evaluate(() => document.fonts.check("16px 'Literata Variable'"))).toBe(true);
  await page.getByRole("button", { name: STORY }).click();
  await answered(page);
  await page.getByRole("button", { name: "Bench" }).click();
  await expect(page.getByRole("heading", { name: "How fast is it here?" })).toBeVisible();
});

test("the reload for isolation does not come while something is being written", async ({ open }) => {
  const page = await open();
  await page.evaluate(() => Object.assign(window, { mark: true }));
  const box = page.getByRole("textbox", { name: "Message" });
  // Either the reload came before the first key, or it does not come at all.
  await box.pressSequentially("Do not lose this", { delay: 30 });
  await page.waitForTimeout(4500);
  const text = await box.inputValue();
  const reloaded = !(await page.evaluate(() => "mark" in window));
  expect(reloaded || text === "Do not lose this").toBe(true);
});
