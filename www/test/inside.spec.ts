/** Looking into a reply and changing it: another token, another wording, the thought before the answer. */

import type { Page } from "@playwright/test";
import { entropy } from "../src/chat/uncertainty";
import { splitThought } from "../src/text/thinking";
import { answered, ask, expect, test } from "./page";

const prose = (page: Page) => page.locator(".answered .prose");

async function look(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Show token probabilities" }).click();
}

test("from another candidate of a token the reply is written anew, as another version", async ({ open }) => {
  const page = await open({ reply: "The tern flies far.", more: " over land." });
  await ask(page, "Say something");
  await look(page);
  const card = page.locator(".odds");
  await page.locator('[data-index="2"]').click();
  await expect(card).toHaveAttribute("data-held", "true");
  const other = card.getByRole("button").nth(1);
  const label = (await other.getAttribute("aria-label")) ?? "";
  const text = (/“(.*)”/.exec(label)?.[1] ?? "").replaceAll("·", " ");
  await other.click();
  await answered(page);
  await expect(prose(page)).toHaveText(`The tern${text} over land.`);
  expect(await page.evaluate(() => window.begun)).toBe(`Say somethingThe tern${text}`);
  await expect(page.locator(".answered").getByText("2 / 2")).toBeVisible();
  await look(page);
  await expect(page.locator("[data-index]")).toHaveCount(6);
  await look(page);
  await page.getByRole("button", { name: "Earlier version" }).click();
  await expect(prose(page)).toHaveText("The tern flies far.");
});

test("the keyboard alone goes on from another candidate", async ({ open }) => {
  const page = await open({ reply: "The tern flies far.", more: " and so on." });
  await ask(page, "Say something");
  await look(page);
  await page.getByRole("application").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  const choices = page.locator(".odds").getByRole("button");
  await expect(choices.first()).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await expect(choices.nth(1)).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("application")).toBeFocused();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await answered(page);
  await expect(prose(page)).toHaveText(/^The.* and so on\.\s*$/);
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
});

test("with a gap in the probabilities no token is offered to go on from", async ({ open }) => {
  const page = await open({ reply: "word ".repeat(40), more: " more words here." });
  const keep = async (yes: boolean) => {
    await page.getByRole("button", { name: "Settings", exact: true }).click();
    await page.getByRole("spinbutton", { name: "Longest reply" }).fill("16");
    await page.getByRole("spinbutton", { name: "Longest reply" }).blur();
    await page.getByRole("checkbox", { name: "Keep token probabilities" }).setChecked(yes);
    await page.getByRole("button", { name: "Close settings" }).click();
  };
  await keep(true);
  await ask(page, "Go");
  await keep(false);
  await page.getByRole("button", { name: "Continue" }).click();
  await answered(page);
  await look(page);
  await page.locator('[data-index="2"]').click();
  await expect(page.locator(".odds li").first()).toBeVisible();
  await expect(page.locator(".odds").getByRole("button")).toHaveCount(0);
});

test("a ribbon along the reply shows how open each choice was", async ({ open }) => {
  const page = await open();
  await ask(page, "A story");
  await look(page);
  const ribbon = page.locator(".ribbon svg");
  const tokens = await page.locator("[data-index]").count();
  await expect(ribbon).toHaveAttribute("viewBox", `0 0 ${tokens} 1`);
  await expect(page.getByText(/up to \d\.\d bits/)).toBeVisible();
  const box = await ribbon.boundingBox();
  if (!box) throw new Error("no ribbon");
  const index = 40;
  await page.mouse.move(box.x + ((index + 0.5) / tokens) * box.width, box.y + 10);
  await expect(page.locator(`[data-index="${index}"]`)).toHaveAttribute("data-on", "true");
  await expect(page.getByText(/^\d\.\d bits$/)).toBeVisible();
});

test("entropy is that of the known candidates, the others counting as one", () => {
  const half = Math.log(0.5);
  const quarter = Math.log(0.25);
  const even = [
    { text: "a", logprob: half },
    { text: "b", logprob: half },
  ];
  expect(entropy({ text: "a", logprob: half, top: even })).toBeCloseTo(1, 9);
  expect(entropy({ text: "a", logprob: half, top: even.slice(0, 1) })).toBeCloseTo(1, 9);
  expect(entropy({ text: "c", logprob: quarter, top: [{ text: "a", logprob: half }] })).toBeCloseTo(1.5, 9);
  expect(entropy({ text: "a", logprob: 0, top: [{ text: "b", logprob: -Infinity }] })).toBe(0);
});

test("an answer can be worded differently, and gone on with from there", async ({ open }) => {
  const page = await open({ reply: "First answer.", more: " It goes on." });
  await ask(page, "Question");
  await page.getByRole("button", { name: "Edit the answer" }).click();
  const box = page.getByRole("textbox", { name: "Edit the answer" });
  await expect(box).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Edit the answer" })).toBeFocused();
  await page.getByRole("button", { name: "Edit the answer" }).click();
  await box.fill("My own words.");
  await page.getByRole("button", { name: "Keep as another version" }).click();
  await expect(prose(page)).toHaveText("My own words.");
  await expect(page.getByText("edited by you")).toBeVisible();
  await page.getByRole("button", { name: "Continue" }).click();
  await answered(page);
  await expect(prose(page)).toHaveText("My own words. It goes on.");
  expect(await page.evaluate(() => window.begun)).toBe("QuestionMy own words.");
  await page.reload();
  await page.locator(".chats .open").first().click();
  await expect(prose(page)).toHaveText("My own words. It goes on.");
  await page.getByRole("button", { name: "Earlier version" }).click();
  await expect(prose(page)).toHaveText("First answer.");
});

test("a thought before the answer is folded, timed, and not said to the model again", async ({ open }) => {
  const page = await open({
    pace: 15,
    reply: "<think>\nTwo and two. Let me count: one, two, three, four.\n</think>\n\nIt is **four**.",
  });
  await page.getByRole("textbox", { name: "Message" }).fill("2 + 2?");
  await page.keyboard.press("Enter");
  const fold = page.locator(".thought");
  await expect(fold.getByText(/^Thinking/)).toBeVisible();
  await answered(page);
  await expect(fold.locator("summary")).toHaveText(/^Thought\d+ tokens, .*s(econd)?$/);
  await expect(fold).not.toHaveAttribute("open");
  await expect(page.locator(".answered > .prose")).toHaveText("It is four.");
  await expect(page.getByText("Let me count")).toBeHidden();
  await fold.locator("summary").click();
  await expect(page.getByText("Let me count")).toBeVisible();
  await ask(page, "Thanks");
  expect(await page.evaluate(() => window.asked?.messages.map(({ content }) => content))).toEqual([
    "2 + 2?",
    "It is **four**.",
    "Thanks",
  ]);
});

test("a thought is what stands before its end, and nothing else", () => {
  expect(splitThought("<think>a</think>b")).toEqual({ thought: "a", open: false, answer: "b" });
  expect(splitThought("\n<think>\na\n")).toEqual({ thought: "a\n", open: true, answer: "" });
  expect(splitThought("a\n</think>\n\nb")).toEqual({ thought: "a", open: false, answer: "b" });
  const words = "Write `</think>` to end it.";
  expect(splitThought(words)).toEqual({ thought: null, open: false, answer: words });
  const both = "Use\n<think>\nx\n</think>\n";
  expect(splitThought(both)).toEqual({ thought: null, open: false, answer: both });
});
