/** Talking: sending, streaming, stopping, repeating, editing, keeping. */

import { readFileSync } from "node:fs";
import { answered, ask, expect, STORY, test } from "./page";

test("a suggested prompt loads the model and is answered", async ({ open }) => {
  const page = await open({ load: 400 });
  await expect(page.getByRole("heading", { name: "A language model, in this tab." })).toBeVisible();
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByRole("progressbar")).toBeVisible();
  await expect(page.getByText(/MB of 98/)).toBeVisible();
  await answered(page);
  await expect(page.locator(".prose strong")).toHaveText("Pell");
  await expect(page.locator(".prose ol li")).toHaveCount(3);
  await expect(page.getByText("187 MB in memory")).toBeVisible();
});

test("Enter sends, Shift+Enter breaks the line, / focuses, Escape stops", async ({ open }) => {
  const page = await open({ pace: 40 });
  await page.keyboard.press("/");
  const box = page.getByRole("textbox", { name: "Message" });
  await expect(box).toBeFocused();
  await page.keyboard.type("one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two");
  await expect(box).toHaveValue("one\ntwo");
  await page.keyboard.press("Enter");
  await expect(page.locator(".asked .words")).toHaveText("one\ntwo");
  await expect(page.locator(".answered .prose")).toContainText("young tern");
  await expect(page.getByText(/\d tok\/s/)).toBeVisible();
  await page.keyboard.press("Escape");
  await answered(page);
  await expect(page.getByText(/tokens, .*, stopped/)).toBeVisible();
  await expect(page.locator(".answered .prose")).not.toContainText("holding her up");
});

test("stopping while the model loads leaves a question that can be answered", async ({ open }) => {
  const page = await open({ load: "forever" });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByText("Waiting for the model")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Answer this" })).toBeVisible();
  await page.getByRole("button", { name: "Cancel loading" }).click();
  await page.evaluate(() => Object.assign(window.fake ?? {}, { load: 20 }));
  await page.getByRole("button", { name: "Answer this" }).click();
  await answered(page);
});

test("answering again and editing a question keep the versions", async ({ open }) => {
  const page = await open({ reply: "First answer." });
  await ask(page, "Question one");
  await page.evaluate(() => Object.assign(window.fake ?? {}, { reply: "Second answer." }));
  await page.getByRole("button", { name: "Answer again" }).click();
  await expect(page.locator(".answered .prose")).toHaveText("Second answer.");
  await expect(page.getByText("2 / 2")).toBeVisible();
  await page.getByRole("button", { name: "Earlier version" }).click();
  await expect(page.locator(".answered .prose")).toHaveText("First answer.");
  await ask(page, "Question two");
  await expect(page.locator(".asked")).toHaveCount(2);

  await page.getByRole("button", { name: "Edit and ask again" }).first().click();
  await page.getByRole("textbox", { name: "Edit the question" }).fill("Question one, better");
  await page.keyboard.press("Enter");
  await answered(page);
  const words = page.locator(".asked .words");
  await expect(words).toHaveText(["Question one, better"]);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Question one, better");
  const asked = page.locator(".asked").first();
  await expect(asked.getByText("2 / 2")).toBeVisible();
  await asked.getByRole("button", { name: "Earlier version" }).click();
  await expect(words).toHaveText(["Question one", "Question two"]);
  await expect(page.locator(".answered .prose").first()).toHaveText("First answer.");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Question one");
  await expect(asked.getByRole("button", { name: "Earlier version" })).toBeFocused();
});

test("a conversation longer than the context goes on, and a rule shows what is out of sight", async ({
  open,
}) => {
  const page = await open({
    context: 120,
    reply: "A reply of a few words, again and again, to fill the context.",
  });
  for (let turn = 1; turn <= 6; turn += 1) await ask(page, `Question number ${turn} with some more words`);
  await expect(page.getByRole("alert")).toHaveCount(0);
  const rule = page.locator(".horizon");
  await expect(rule).toHaveText("The model no longer sees what is above");
  // 22 tokens a turn and 20 a reply: 120 hold the last five messages.
  await expect(rule.locator("xpath=following-sibling::li[contains(@class, 'asked')]")).toHaveCount(3);
  await page.reload();
  await page.locator(".chats .open").first().click();
  await expect(rule).toHaveCount(1);
});

test("the newest words stay in view, until one scrolls up; the way back is one button", async ({ open }) => {
  const page = await open({ pace: 0 });
  for (const question of ["One", "Two", "Three"]) await ask(page, question);
  const last = page.locator(".answered").last();
  await expect(last.getByText(/tok\/s/)).toBeInViewport();
  const latest = page.getByRole("button", { name: "Jump to the latest" });
  await expect(latest).toHaveCount(0);
  await page.locator(".scroll").hover();
  await page.mouse.wheel(0, -900);
  await expect(latest).toBeVisible();
  await expect(last.getByText(/tok\/s/)).not.toBeInViewport();
  await latest.click();
  await expect(last.getByText(/tok\/s/)).toBeInViewport();
  await expect(latest).toHaveCount(0);

  await page.evaluate(() => Object.assign(window.fake ?? {}, { pace: 15 }));
  await page.getByRole("textbox", { name: "Message" }).fill("Four");
  await page.keyboard.press("Enter");
  await expect(page.locator(".answered").last()).toContainText("counted waves");
  await page.mouse.wheel(0, -900);
  await answered(page);
  await expect(latest).toBeVisible();
});

test("an answer that ended at the length limit goes on where it stopped", async ({ open }) => {
  const page = await open({ reply: "word ".repeat(40), more: " And so it ends." });
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await page.getByRole("spinbutton", { name: "Longest reply" }).fill("16");
  await page.getByRole("spinbutton", { name: "Longest reply" }).blur();
  await page.getByRole("button", { name: "Close settings" }).click();
  await ask(page, "Tell me");
  await expect(page.getByText(/16 tokens, .*, stopped at the length limit/)).toBeVisible();
  await page.getByRole("button", { name: "Continue" }).click();
  await answered(page);
  await expect(page.locator(".answered .prose")).toHaveText(
    "word word word word word word word word word word word word word word word word And so it ends.",
  );
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
  await expect(page.getByRole("button", { name: "Continue" })).toHaveCount(0);
  await expect(page.getByText("1 / 2")).toHaveCount(0);
  // The two words of the question and the sixteen tokens of the reply.
  expect(await page.evaluate(() => window.continued)).toBe(18);
});

test("↑ in an empty message edits the last question, ? lists the keys", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "First");
  await ask(page, "Second");
  const box = page.getByRole("textbox", { name: "Message" });
  await box.press("ArrowUp");
  const edit = page.getByRole("textbox", { name: "Edit the question" });
  await expect(edit).toBeFocused();
  await expect(edit).toHaveValue("Second");
  await page.keyboard.press("Escape");
  await box.fill("not empty?");
  await box.press("ArrowUp");
  await expect(edit).toHaveCount(0);
  await page.getByRole("button", { name: "New chat" }).focus();
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toContainText("Edit the last question");
});

test("copying puts the answer's source on the clipboard", async ({ open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await open({ reply: "A **bold** answer." });
  await ask(page, "Hello");
  await page.getByRole("button", { name: "Copy answer" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("A **bold** answer.");
});

test("conversations survive a reload; they can be renamed, exported, deleted and brought back", async ({
  open,
}) => {
  const page = await open({ reply: "Kept." });
  await ask(page, "Remember this");
  await page.getByRole("button", { name: "New chat" }).click();
  await ask(page, "And this");
  await page.reload();
  const list = page.getByRole("navigation");
  await list.getByRole("button", { name: "Remember this", exact: true }).click();
  await expect(page.locator(".answered .prose")).toHaveText("Kept.");

  await page.getByRole("button", { name: "More for Remember this" }).click();
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByRole("textbox", { name: "Name of the conversation" }).fill("Renamed");
  await page.keyboard.press("Enter");
  await expect(list.getByRole("button", { name: "Renamed", exact: true })).toBeVisible();

  await page.getByRole("button", { name: "More for Renamed" }).click();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export as Markdown" }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe("renamed.md");
  expect(readFileSync(await file.path(), "utf8")).toContain("Remember this");

  await page.getByRole("button", { name: "More for Renamed" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await expect(list.getByRole("button", { name: "Renamed", exact: true })).toHaveCount(0);
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(list.getByRole("button", { name: "Renamed", exact: true })).toBeVisible();
});

test("what was written before the tab closed is kept", async ({ open }) => {
  const page = await open({ pace: 60 });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.locator(".answered .prose")).toContainText("counted waves", { timeout: 20_000 });
  await page.reload();
  await page.getByRole("button", { name: STORY }).first().waitFor();
  await page.locator(".chats .open").first().click();
  await expect(page.locator(".answered .prose")).toContainText("young tern");
});

test("a model's HTML, images and script links are text, not elements", async ({ open }) => {
  const page = await open({
    reply:
      "<script>window.hit = 1</script> <img src=https://example.org/a.png onerror='window.hit=2'> ![pic](https://example.org/b.png) [x](javascript:window.hit=3) <b onclick='window.hit=4'>b</b>\n\n<iframe src=https://example.org></iframe>\n\n&lt;i&gt; [ok](https://example.org/)",
  });
  await ask(page, "Try to break out");
  const prose = page.locator(".answered .prose");
  await expect(prose.locator("script, img, iframe, b, [onclick], [onerror]")).toHaveCount(0);
  await expect(prose.locator("a[href]")).toHaveCount(1);
  await expect(prose.locator("a[href]")).toHaveAttribute("rel", /noopener/);
  await expect(prose).toContainText("<script>window.hit = 1</script>");
  await expect(prose).toContainText("<iframe");
  await expect(prose).toContainText("<i>");
  expect(await page.evaluate(() => "hit" in window)).toBe(false);
});

test("code can be copied as it is", async ({ open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await open({ reply: '```js\nif (a < b && c) return "<x>";\n```' });
  await ask(page, "Code");
  await expect(page.locator(".listing code")).toHaveText('if (a < b && c) return "<x>";');
  await page.getByRole("button", { name: "Copy code" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('if (a < b && c) return "<x>";');
});

test("a screen reader hears the answer in sentences, once", async ({ open }) => {
  const page = await open({ reply: "One sentence. Two sentences! And an end" });
  await ask(page, "Speak");
  const log = page.getByRole("log", { name: "Announcements" });
  await expect(log).toContainText("And an end");
  const heard = (await log.locator("p").allTextContents()).join(" ");
  expect(heard.match(/One sentence\./g)).toHaveLength(1);
  expect(heard.match(/Two sentences!/g)).toHaveLength(1);
});

test("choosing another model while an answer is written lets it be finished", async ({ open }) => {
  const page = await open({ pace: 60 });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.locator(".answered .prose")).toContainText("young tern");
  await page.getByRole("button", { name: /Choose another/ }).click();
  await page.getByRole("button", { name: "Load BitNet b1.58 2B 4T" }).click();
  await page.getByRole("button", { name: "Fetch 1.19" }).click();
  await expect(page.getByRole("button", { name: /BitNet b1.58 2B 4T \(ready\)/ })).toBeVisible();
  await expect(page.getByRole("button", { name: "Answer again" })).toBeVisible();
  await expect(page.locator(".answered .prose")).toContainText("holding her up.");
  await expect(page.locator(".answered")).toContainText("SmolLM2 135M Instruct answered");
  await expect(page.getByRole("alert")).toHaveCount(0);
});
