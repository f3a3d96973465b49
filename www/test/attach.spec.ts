/** Texts that go with a question: whole where they fit, else the passages that the question is about. */

import type { Page } from "@playwright/test";
import { findPassages, passagesOf } from "../src/state/passages";
import { ask, expect, test } from "./page";

async function drop(page: Page, name: string, content: string): Promise<void> {
  const data = await page.evaluateHandle(
    ([file, text]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text ?? ""], file ?? ""));
      return transfer;
    },
    [name, content],
  );
  await page.dispatchEvent("body", "drop", { dataTransfer: data });
}

const given = (page: Page) => page.evaluate(() => window.asked?.messages.at(-1)?.content ?? "");

/** Paragraphs about nothing in particular, and one about what is asked. */
const LONG = Array.from({ length: 120 }, (_, index) =>
  index === 77
    ? "The lighthouse keeper was called Marianne, and she kept a diary of every storm."
    : `Paragraph ${index} tells of fields, of fences and of a road that goes on and on through the same country.`,
).join("\n\n");

test("a dropped text becomes a chip with its tokens, and goes with the question whole", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "Hello");
  await drop(page, "notes.md", "# Notes\n\nTerns dive for fish.");
  const chip = page.getByRole("list", { name: "Attachments" });
  await expect(chip).toContainText("notes.md");
  await expect(chip).toContainText(/\d+ tokens, fits/);
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
  await ask(page, "What do they eat?");
  await expect(chip).toHaveCount(0);
  expect(await given(page)).toBe(
    'From notes.md:\n"""\n# Notes\n\nTerns dive for fish.\n"""\n\nWhat do they eat?',
  );
  await expect(page.locator(".asked .words").last()).toHaveText("What do they eat?");
  await expect(page.locator(".given")).toHaveText("notes.md");
  // It stays with the question, also after a reload, and for later turns.
  await page.reload();
  await page.locator(".chats .open").first().click();
  await expect(page.locator(".given")).toHaveText("notes.md");
  await ask(page, "And then?");
  expect(await page.evaluate(() => window.asked?.messages[2]?.content)).toContain("Terns dive for fish.");
});

test("of a long text the model is given the passages that matter, and their lines are shown", async ({
  open,
}) => {
  const page = await open({ reply: "Yes.", context: 1000 });
  await ask(page, "Hello");
  await page
    .getByLabel("Attach texts")
    .setInputFiles([{ name: "story.txt", mimeType: "text/plain", buffer: Buffer.from(LONG) }]);
  await expect(page.getByRole("list", { name: "Attachments" })).toContainText(
    "the passages that matter are picked",
  );
  await ask(page, "What was the lighthouse keeper's name?");
  expect(await given(page)).toContain("The lighthouse keeper was called Marianne");
  expect((await given(page)).length).toBeLessThan(LONG.length / 2);
  await expect(page.locator(".given")).toContainText(/story\.txtlines \d+–\d+/);
  // The next question is about another passage of it.
  await ask(page, "What does paragraph 5 tell?");
  expect(await given(page)).toContain("Paragraph 5 ");
  await expect(page.locator(".given")).toHaveCount(2);
});

test("what is no text is refused by name, and chips can be removed", async ({ open }) => {
  const page = await open();
  await drop(page, "a.pdf", "%PDF-1.7");
  await expect(page.locator(".notice")).toContainText("a.pdf: the text of a PDF cannot be read here");
  await drop(page, "code.rs", "fn main() {}");
  await page.getByRole("button", { name: "Remove code.rs" }).click();
  await expect(page.getByRole("list", { name: "Attachments" })).toHaveCount(0);
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
});

test("passages cover a text without a gap, and keep within their room", () => {
  const text = `${LONG}\n${"x".repeat(5000)}\nend`;
  const passages = passagesOf(0, text);
  const all = passages.map((one) => one.text).join("");
  expect(all.replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
  for (const one of passages) {
    expect(one.text.length).toBeLessThanOrEqual(1500);
    expect(one.to).toBeGreaterThanOrEqual(one.from);
  }
  const lines = text.split("\n");
  const keeper = passages.find((one) => one.text.includes("Marianne"));
  expect(lines.slice((keeper?.from ?? 0) - 1, keeper?.to).join("\n")).toContain("Marianne");
  const found = findPassages([text, "Marianne again"], "Marianne", 2000);
  expect(found.some(({ source }) => source === 1)).toBe(true);
  expect(found.reduce((sum, one) => sum + one.text.length, 0)).toBeLessThanOrEqual(2000);
  expect(findPassages([LONG], "zzz qqq", 1000).length).toBeGreaterThan(0);
});
