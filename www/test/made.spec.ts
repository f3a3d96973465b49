/** Models with experts or a loop: how they are pictured, what is shown while they write, what can be set. */

import { answered, ask, expect, test } from "./page";

test("a mixture: its experts are pictured, seen at work, and can be set", async ({ open }) => {
  const page = await open({
    made: "experts",
    pace: 60,
    reply: "one two three four five six seven eight nine ten",
  });
  await page.getByRole("textbox", { name: "Message" }).fill("Go");
  await page.keyboard.press("Enter");
  const inner = page.locator('[data-inner="experts"] canvas');
  await expect(inner).toBeVisible();
  // Some cells are lit: those of the last token alone are drawn at full strength.
  const strengths = () =>
    inner.evaluate((canvas: HTMLCanvasElement) => {
      const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      return [...new Set(Array.from(pixels).filter((_, index) => index % 4 === 3))].sort((a, b) => a - b);
    });
  await expect.poll(async () => (await strengths()).at(-1)).toBe(255);
  expect((await strengths()).length).toBeGreaterThan(2);
  await answered(page);
  await expect(inner).toHaveCount(0);
  await expect(page.locator('[data-inner="loops"]')).toHaveCount(0);
  expect(await page.evaluate(() => window.asked?.inside)).toEqual({ reportExperts: true });

  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await page.getByRole("slider", { name: "Experts" }).fill("5");
  await expect(page.getByRole("slider", { name: "Experts" })).toHaveAttribute("max", "16");
  await expect(page.getByRole("slider", { name: /Loops|Early exit/ })).toHaveCount(0);
  await ask(page, "Again");
  expect(await page.evaluate(() => window.asked?.inside)).toEqual({ reportExperts: true, experts: 5 });

  await page.getByRole("button", { name: "About this model" }).click();
  await expect(
    page.getByText(/29 of 30 layers have 16 networks each\. A router gives every token to 2 of them/),
  ).toBeVisible();
  await expect(page.locator('[data-expert="active"]')).toHaveCount(29 * 2);
  await expect(page.locator('[data-expert="idle"]')).toHaveCount(29 * 14);
});

test("a looped model: the loop is pictured, its passes are counted, and can be set", async ({ open }) => {
  const page = await open({
    made: "loop",
    pace: 60,
    reply: "one two three four five six seven eight nine ten",
  });
  await page.getByRole("textbox", { name: "Message" }).fill("Go");
  await page.keyboard.press("Enter");
  const inner = page.locator('[data-inner="loops"]');
  await expect(inner).toContainText(/\d pass(es)? through the loop for this token, \d\.\d on average/);
  await answered(page);
  await expect(inner).toHaveCount(0);
  expect(await page.evaluate(() => window.asked?.inside)).toEqual({});

  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await expect(page.getByRole("slider", { name: "Experts" })).toHaveCount(0);
  await page.getByRole("slider", { name: "Loops" }).fill("3");
  await page.getByRole("slider", { name: "Early exit" }).fill("0.6");
  await ask(page, "Again");
  expect(await page.evaluate(() => window.asked?.inside)).toEqual({
    loops: 3,
    exitThreshold: 0.6,
    earlyExit: true,
  });

  await page.getByRole("button", { name: "About this model" }).click();
  await expect(page.getByText(/26 layers run 4 times over/)).toBeVisible();
  await expect(page.locator('[data-looped="true"]')).toHaveCount(26);
  await expect(page.locator('[data-looped="false"]')).toHaveCount(4);
  await expect(page.getByText("50.0 % kept of 32")).toBeVisible();
});

test("a plain model has none of it", async ({ open }) => {
  const page = await open({ reply: "Short." });
  await ask(page, "Hi");
  expect(await page.evaluate(() => window.asked?.inside)).toEqual({});
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await expect(page.getByRole("slider", { name: "Temperature" })).toBeVisible();
  await expect(page.getByRole("slider", { name: /Experts|Loops|Early exit/ })).toHaveCount(0);
  await page.getByRole("button", { name: "About this model" }).click();
  await expect(page.getByRole("heading", { name: "Where the bytes are" })).toBeVisible();
  await expect(page.getByRole("heading", { name: /Experts|loop|Zeros/ })).toHaveCount(0);
});
