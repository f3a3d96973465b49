/** Pictures of every state of the page, for looking at: `npm run screens`, then open `test/out/screens`. */

import type { Page } from "@playwright/test";
import type { Script } from "./fake-engine";
import { answered, ask, STORY, test } from "./page";

interface State {
  script?: Script;
  hash?: string;
  /** Pictures the whole view and not only what fits the window. */
  whole?: boolean;
  go?: (page: Page) => Promise<void>;
}

const story = (page: Page) => page.getByRole("button", { name: STORY }).click();

const FORMATS =
  "The area is \\(A = \\pi r^2\\), so\n\n\\[ r = \\sqrt{\\frac{A}{\\pi}} \\]\n\n- [x] packed\n- [ ] left\n\n1. First:\n   ```js\n   const far = true; // 80 cm\n   ```\n\nمرحبا بالعالم\n\nHere is a function and a table:\n\n```python\ndef wingbeats(seconds, rate=3.1):\n    return round(seconds * rate)\n```\n\n| Bird | Wing span |\n|---|--:|\n| Arctic tern | 80 cm |\n| Common tern | 88 cm |\n\n> Terns hover before they dive.\n\nSee [the list](https://example.org/terns) and <b>no html</b>.";

const STATES: Record<string, State> = {
  first: {},
  why: {
    hash: "#/why",
    whole: true,
    go: async (page) => {
      await page.getByRole("button", { name: "Row 2, column 3: +1" }).click();
    },
  },
  loading: {
    script: { load: "forever" },
    go: async (page) => {
      await story(page);
      await page.getByText("59 MB of 98 MB").waitFor();
    },
  },
  writing: {
    script: { pace: 30 },
    go: async (page) => {
      await story(page);
      await page.getByText("She").or(page.getByText("counted waves")).first().waitFor();
    },
  },
  chat: {
    go: async (page) => {
      await story(page);
      await answered(page);
      await page.evaluate((reply) => Object.assign(window.fake ?? {}, { reply }), FORMATS);
      await ask(page, "How often does it beat its wings?\nShow me code.");
    },
  },
  slide: {
    script: { context: 120, reply: "A reply of a few words, again and again, to fill the context." },
    go: async (page) => {
      for (const question of ["What is a tern?", "Where does it live?", "And what does it eat there?"])
        await ask(page, `${question} Please answer in one sentence.`);
      await page.getByRole("button", { name: "Edit and ask again" }).last().click();
      await page.keyboard.press("Enter");
      await answered(page);
      await ask(page, "Thank you. And how long do terns live?");
      await page.locator(".asked").nth(2).hover();
    },
  },
  back: {
    script: { fresh: true },
    go: async (page) => {
      await page.getByRole("button", { name: /Tern \(ready\)/ }).waitFor();
      await page.evaluate(() => Object.assign(window.fake ?? {}, { unreachable: true }));
      await page.getByRole("button", { name: /Choose another/ }).click();
      await page.getByRole("textbox", { name: "Address of a model" }).fill("hf:owner/repo/model.gguf");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").waitFor();
    },
  },
  fetch: {
    script: { fresh: true },
    go: async (page) => {
      await page.getByRole("button", { name: /Choose another/ }).click();
      await page.getByRole("button", { name: "Load BitNet b1.58 2B 4T" }).click();
      await page.getByRole("dialog", { name: /Fetch/ }).waitFor();
    },
  },
  keys: { go: (page) => page.keyboard.press("?") },
  thinking: {
    go: async (page) => {
      await story(page);
      await answered(page);
      await page.getByRole("button", { name: "Show token probabilities" }).click();
      await page.locator('[data-index="31"]').hover();
      await page.locator('[data-index="31"]').click();
    },
  },
  rewind: {
    go: async (page) => {
      await story(page);
      await answered(page);
      await page.getByRole("button", { name: "Show token probabilities" }).click();
      await page.locator('[data-index="31"]').click();
    },
  },
  thought: {
    script: {
      reply:
        "<think>\nThe person asks about a bird. I should be short.\n\n1. Name the bird.\n2. Say where it flies.\n</think>\n\nThe **Arctic tern** flies from pole to pole and back, each year.",
    },
    go: async (page) => {
      await ask(page, "Which bird sees the most daylight?");
      await page.locator(".thought summary").click();
      await ask(page, "Thank you.");
    },
  },
  search: {
    go: async (page) => {
      for (const question of ["How far does a tern fly?", "What is granite?", "A poem about the sea"]) {
        await page.evaluate(() => {
          location.hash = "#/";
        });
        await page.locator(".hello").waitFor();
        await ask(page, question);
      }
      if ((page.viewportSize()?.width ?? 0) < 500)
        await page.getByRole("button", { name: "Conversations" }).click();
      await page.getByRole("button", { name: "More for What is granite?" }).click();
      await page.getByRole("button", { name: "Pin to the top" }).click();
      await page.getByRole("searchbox").fill("wind south");
      await page.locator(".hit").first().waitFor();
    },
  },
  attached: {
    script: { context: 600 },
    go: async (page) => {
      await page.getByLabel("Attach texts").setInputFiles([
        {
          name: "terns.md",
          mimeType: "text/plain",
          buffer: Buffer.from("Terns dive for fish.\n\nThey nest on the ground.\n\n".repeat(60)),
        },
      ]);
      await ask(page, "Where do they nest?");
      await page.getByLabel("Attach texts").setInputFiles([
        { name: "short.txt", mimeType: "text/plain", buffer: Buffer.from("A short note.") },
        {
          name: "a-long-story.txt",
          mimeType: "text/plain",
          buffer: Buffer.from("Words and words. ".repeat(400)),
        },
      ]);
      await page.waitForTimeout(300);
    },
  },
  edit: {
    script: { reply: "A short answer, with a **mistake** in it." },
    go: async (page) => {
      await ask(page, "Say something wrong");
      await page.getByRole("button", { name: "Edit the answer" }).click();
    },
  },
  settings: {
    go: async (page) => {
      await story(page);
      await answered(page);
      await page.getByRole("button", { name: "Settings", exact: true }).click();
    },
  },
  models: {
    script: { cached: true },
    go: (page) => page.getByRole("button", { name: /Choose another/ }).click(),
  },
  find: {
    go: async (page) => {
      await story(page);
      await answered(page);
      await page.keyboard.press("Control+k");
    },
  },
  about: {
    script: { ternary: true, cached: true },
    hash: "#/about",
    whole: true,
    go: (page) => page.getByText("Where the bytes are").waitFor(),
  },
  "about-plain": {
    script: { cached: true },
    hash: "#/about",
    whole: true,
    go: (page) => page.getByText("Where the bytes are").waitFor(),
  },
  bench: {
    script: { cached: true },
    hash: "#/bench",
    whole: true,
    go: async (page) => {
      await page.getByRole("button", { name: "Measure" }).click();
      await page.getByRole("button", { name: "Measure again" }).waitFor();
    },
  },
  error: {
    script: { loadError: "truncated" },
    go: async (page) => {
      await story(page);
      await page.getByText("The file ends too early").waitFor();
    },
  },
  crash: {
    script: { replyError: "crashed" },
    go: async (page) => {
      await story(page);
      await page.getByRole("button", { name: "Try again" }).waitFor();
    },
  },
};

const SIZES = { wide: { width: 1280, height: 820 }, phone: { width: 360, height: 740 } };
const LIGHTS = ["light", "dark"] as const;

for (const [name, state] of Object.entries(STATES)) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const light of LIGHTS) {
      test.describe(() => {
        test.use({ viewport, colorScheme: light, hasTouch: size === "phone" });
        test(`${name} ${size} ${light}`, async ({ open }) => {
          const page = await open(state.script, state.hash);
          await state.go?.(page);
          if (state.whole) {
            const height = await page.evaluate(
              () => (document.querySelector(".page")?.scrollHeight ?? 0) + 80,
            );
            await page.setViewportSize({
              ...viewport,
              height: Math.min(Math.max(height, viewport.height), 2400),
            });
          }
          await page.evaluate(() => document.fonts.ready);
          await page.waitForTimeout(200);
          await page.screenshot({ path: `test/out/screens/${name}-${size}-${light}.png` });
        });
      });
    }
  }
}
