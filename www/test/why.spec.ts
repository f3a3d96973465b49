/** What this is, in one look: the toy adds up, its bytes are counted, and the way there is on the first screen. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "./page";

test("the first screen leads to what ternlight is; the toy computes without multiplying", async ({
  open,
}) => {
  const page = await open();
  await page.getByRole("button", { name: "What ternlight is, and why −1, 0, +1" }).click();
  await expect(page).toHaveURL(/#\/why$/);
  await expect(page.getByRole("heading", { name: "Minus one, zero, plus one" })).toBeVisible();
  const sum = page.getByLabel("Sum of row 2");
  await expect(sum).toHaveText("−8");
  await expect(page.getByText("13 additions and subtractions, 11 weights skipped")).toBeVisible();
  await page.getByRole("button", { name: "Row 2, column 3: +1" }).click();
  await expect(page.getByRole("button", { name: "Row 2, column 3: −1" })).toBeFocused();
  await expect(sum).toHaveText("−12");
  await expect(page.getByText("Row 2: −7 − 2 + 1 − 4 = −12")).toBeVisible();
  await page.getByRole("button", { name: "Row 2, column 3: −1" }).click();
  await expect(page.getByText("12 additions and subtractions, 12 weights skipped")).toBeVisible();
  await page.getByRole("spinbutton", { name: "Input 2" }).fill("-5");
  await expect(sum).toHaveText("2");
  await expect(page.getByText("Row 2: −(−5) + 1 − 4 = 2")).toBeVisible();
  await expect(page.getByText("48 bytes")).toBeVisible();
  await expect(page.getByText("6 bytes", { exact: true })).toBeVisible();

  await expect(page.locator(".listing code").first()).toHaveText("npm i ternlight");
  for (const name of ["Source", "Documentation"])
    await expect(page.getByRole("link", { name, exact: true })).toHaveAttribute(
      "href",
      /^https:\/\/github\.com\//,
    );
});

test("about a ternary model leads with its ternary weights and says what its bits are", async ({ open }) => {
  const page = await open({ ternary: true, cached: true }, "#/about");
  const headings = page.locator(".page h3");
  await expect(headings.first()).toHaveText("Minus one, zero, plus one");
  await expect(
    page.getByText(/A ternary weight takes 2\.\d\d bits here\. .* bits per weight for the whole/),
  ).toBeVisible();
  await expect(page.getByText(/^2\.\d\d ternary, \d\.\d\d in all$/)).toBeVisible();
});

test("a link to the page has a card", async ({ open }) => {
  const page = await open();
  const card = await page.locator('meta[property="og:image"]').getAttribute("content");
  expect(existsSync(resolve(import.meta.dirname, "../public", card ?? "none"))).toBe(true);
  await expect(page.locator('meta[property="og:title"]')).toHaveAttribute("content", /ternlight/);
});
