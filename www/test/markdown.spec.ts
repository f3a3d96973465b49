/** What a model writes, as a person reads it: maths, tables, lists, code, every script, and what is built to do harm. */

import type { Page } from "@playwright/test";
import type { Script } from "./fake-engine";
import { ask, expect, test } from "./page";

async function said(open: (script?: Script) => Promise<Page>, reply: string) {
  const page = await open({ reply, pace: 0 });
  await ask(page, "Show me");
  return { page, prose: page.locator(".answered .prose") };
}

test("maths keeps its delimiters as source and is typeset", async ({ open }) => {
  const { page, prose } = await said(
    open,
    "So \\(a^2 + b^2\\) and $E = mc^2$.\n\n\\[\n\\int_0^1 x\\,dx = \\frac12\n\\]\n\n$$\\sqrt{\\frac{1}{2}}$$\n\n- in a list: \\(x_1\\)\n\nIt costs $5 and $10, or $20-$30. `\\(code\\)` and \\(\\notacommand{x}\\).",
  );
  await expect(prose.locator(".maths .katex-html")).toHaveCount(5);
  await expect(prose.locator(".maths.display .katex-html")).toHaveCount(2);
  await expect(prose.locator(".maths annotation").first()).toHaveText("a^2 + b^2");
  await expect(prose).toContainText("It costs $5 and $10, or $20-$30.");
  await expect(prose.locator("code")).toHaveText("\\(code\\)");
  await expect(prose.locator(".maths").last()).toHaveText("\\(\\notacommand{x}\\)");
  const drawn = await prose
    .locator(".katex-html")
    .first()
    .evaluate((one) => getComputedStyle(one).fontFamily);
  expect(drawn).toContain("KaTeX");
  await page.waitForFunction(() => document.fonts.check("16px KaTeX_Main"));
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 360, height: 740 } });
  test("tables keep their words whole, align their columns and scroll", async ({ open }) => {
    const { page, prose } = await said(
      open,
      "| Left | Centre | Right | Incomprehensibility |\n|:---|:---:|---:|---|\n| electroencephalography | otorhinolaryngology | 1 | counterrevolutionaries |",
    );
    const cells = prose.locator("td");
    const heights = await cells.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height));
    const line = Number.parseFloat(await cells.first().evaluate((one) => getComputedStyle(one).lineHeight));
    for (const height of heights) expect(height).toBeLessThan(2 * line);
    const aligned = await cells.evaluateAll((all) => all.map((one) => getComputedStyle(one).textAlign));
    expect(aligned).toEqual(["start", "center", "right", "start"]);
    const box = prose.getByRole("region", { name: "Table" });
    expect(await box.evaluate((one) => one.scrollWidth > one.clientWidth)).toBe(true);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  });
});

test("a list goes on counting where it starts", async ({ open }) => {
  const { prose } = await said(open, "3. three\n4. four");
  await expect(prose.locator("ol")).toHaveAttribute("start", "3");
});

test("task lists have boxes", async ({ open }) => {
  const { prose } = await said(open, "- [x] pack\n- [ ] leave\n- arrive");
  const boxes = prose.getByRole("checkbox");
  await expect(boxes).toHaveCount(2);
  await expect(boxes.first()).toBeChecked();
  await expect(boxes.last()).not.toBeChecked();
  await expect(boxes.last()).toBeDisabled();
});

test("right-to-left text runs from the right, in answers, questions and the message box", async ({
  open,
}) => {
  const { page, prose } = await said(open, "مرحبا بالعالم\n\nHello world\n\n- שלום עולם");
  const direction = (text: string) =>
    prose.locator("p, li", { hasText: text }).evaluate((one) => getComputedStyle(one).direction);
  expect(await direction("مرحبا")).toBe("rtl");
  expect(await direction("Hello")).toBe("ltr");
  expect(await direction("שלום")).toBe("rtl");
  const box = page.getByRole("textbox", { name: "Message" });
  await box.fill("كيف حالك");
  expect(await box.evaluate((one) => getComputedStyle(one).direction)).toBe("rtl");
  await page.keyboard.press("Enter");
  const asked = page.locator(".asked .words").last();
  expect(await asked.evaluate((one) => getComputedStyle(one).direction)).toBe("rtl");
});

test("code says its language and is coloured, in lists too", async ({ open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const { page, prose } = await said(
    open,
    '```python\ndef f(x):\n    return "<b>"  # one\n```\n\n1. Then:\n   ```js\n   const a = 1;\n   ```\n\n```nosuchlanguage\nplain\n```',
  );
  const listings = prose.locator(".listing");
  await expect(listings).toHaveCount(3);
  await expect(listings.first().locator(".listing-head")).toContainText("python");
  await expect(listings.first().locator(".hljs-keyword").first()).toHaveText("def");
  await expect(listings.first().locator("code")).toHaveText('def f(x):\n    return "<b>"  # one');
  await expect(prose.locator("li .hljs-keyword")).toHaveText("const");
  await prose.locator("li").getByRole("button", { name: "Copy code" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("const a = 1;");
  await expect(listings.last().locator("code")).toHaveText("plain");
});

const BOMBS: Record<string, string> = {
  quotes: `${">".repeat(2000)} deep`,
  "spaced quotes": `${"> ".repeat(2000)}deep`,
  bullets: `${"- ".repeat(2000)}deep`,
  numbers: `${"1. ".repeat(2000)}deep`,
  staircase: `${Array.from({ length: 400 }, (_, step) => `${"  ".repeat(step)}- step`).join("\n")} deep`,
  emphasis: `${"**".repeat(2000)} deep`,
  brackets: `${"[".repeat(20_000)} deep`,
  "one long line": `${"*a _b ".repeat(20_000)} deep`,
  table: `|${"a|".repeat(2000)}\n|${"-|".repeat(2000)}\n${"|\n".repeat(1900)}\ndeep`,
  "tall table": `|a|b|\n|-|-|\n${"|1|2|\n".repeat(20_000)}\ndeep`,
  formulas: `${"$x$ ".repeat(300)} deep`,
  "maths that expands": `$\\def\\a{\\a\\a}\\a$ deep`,
};

for (const [name, reply] of Object.entries(BOMBS)) {
  test(`does no harm: ${name}`, async ({ open }) => {
    const page = await open({ reply: "Placeholder.", pace: 0 });
    await ask(page, "First");
    // Straight into the database: what is tested is opening the conversation, again and again.
    await page.evaluate(async (text) => {
      const db = await new Promise<IDBDatabase>((resolve) => {
        const request = indexedDB.open("ternlight");
        request.onsuccess = () => resolve(request.result);
      });
      const store = db.transaction("messages", "readwrite").objectStore("messages");
      await new Promise((resolve) => {
        store.getAll().onsuccess = (event) => {
          const all = (event.target as IDBRequest<{ role: string; text: string }[]>).result;
          const reply = all.find(({ role }) => role === "assistant");
          store.put({ ...reply, text }).onsuccess = resolve;
        };
      });
      db.close();
    }, reply);
    await page.reload();
    await page.locator(".chats .open").waitFor();
    const took = await page.evaluate(async () => {
      const button = document.querySelector<HTMLButtonElement>(".chats .open");
      const start = performance.now();
      button?.click();
      while (!document.querySelector(".answered .prose")?.textContent?.includes("deep"))
        await new Promise((resolve) => setTimeout(resolve, 5));
      return performance.now() - start;
    });
    expect(took).toBeLessThan(1500);
    await ask(page, "The page still works");
  });
}

test("a block that cannot be drawn is shown as text, and the others are not touched", async ({
  open,
  page,
}) => {
  await page.addInitScript(() => {
    const { set, get } = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML") ?? {};
    Object.defineProperty(Element.prototype, "innerHTML", {
      get() {
        return get?.call(this);
      },
      set(html) {
        if (String(html).includes("boom")) throw new Error("cannot draw this");
        set?.call(this, html);
      },
    });
  });
  const { prose } = await said(open, "Before *this*.\n\n**boom** goes\n\nAfter *that*.");
  await expect(prose.locator(".plain")).toHaveText("**boom** goes");
  await expect(prose.locator("em")).toHaveText(["this", "that"]);
});

test("random Markdown never throws, hangs, or makes an element that loads or runs", async ({ open }) => {
  const parts = [
    "*",
    "**",
    "_",
    "`",
    "```\n",
    "~~~",
    "> ",
    "- ",
    "1. ",
    "|",
    "|-|-|\n",
    "\n",
    "\n\n",
    "# ",
    "[a](",
    ")",
    "![",
    "](",
    "<b>",
    "<script>",
    "</",
    "<!--",
    "&lt;",
    "$",
    "$$",
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "http://a.b ",
    "javascript:",
    "[x] ",
    "word ",
    "  ",
    "\t",
    "é",
    "م",
  ];
  let state = 20261124;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const page = await open({ reply: "x", pace: 0 });
  for (let round = 0; round < 40; round += 1) {
    const reply = Array.from({ length: 10 + random(300) }, () => parts[random(parts.length)]).join("");
    await page.evaluate((text) => Object.assign(window.fake ?? {}, { reply: text }), reply);
    await page.getByRole("textbox", { name: "Message" }).fill("Go on");
    await page.keyboard.press("Enter");
    await expect(page.getByRole("button", { name: "Stop" })).toHaveCount(0);
    const bad = page.locator(
      ".prose :is(script, img, iframe, b, style, form, object, embed, [onclick], [src])",
    );
    await expect(bad, `round ${round}: ${JSON.stringify(reply)}`).toHaveCount(0);
    await page.getByRole("button", { name: "New chat" }).click();
  }
});
