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

test("the reload for isolation does not come while something is being written", async ({ open, page }) => {
  // The worker comes after the first key, so the reload could come only then.
  await page.addInitScript(() => {
    const { register } = ServiceWorkerContainer.prototype;
    ServiceWorkerContainer.prototype.register = async function (...args) {
      await new Promise((typed) => addEventListener("keydown", typed, { once: true }));
      return register.apply(this, args);
    };
  });
  await open();
  await page.evaluate(() => Object.assign(window, { mark: true }));
  const box = page.getByRole("textbox", { name: "Message" });
  await box.pressSequentially("Do not lose this", { delay: 30 });
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await page.waitForTimeout(1000);
  expect(await page.evaluate(() => "mark" in window)).toBe(true);
  await expect(box).toHaveValue("Do not lose this");
});
