/** Everything around the conversation: probabilities, settings, models, about, bench, errors. */

import { CODES } from "../src/text/errors";
import { answered, ask, expect, STORY, test } from "./page";

test("probabilities show on hover, tap and arrow keys", async ({ open }) => {
  const page = await open();
  await page.getByRole("button", { name: STORY }).click();
  await answered(page);
  await page.getByRole("button", { name: "Show token probabilities" }).click();
  const card = page.locator(".odds");
  await page.locator('[data-index="3"]').hover();
  await expect(card).toContainText("·named");
  await expect(card.locator("li")).toHaveCount(6);
  await page.mouse.move(5, 300);
  await expect(card).toHaveCount(0);
  await page.getByRole("application").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await expect(page.locator('[data-index="1"]')).toHaveAttribute("data-on", "true");
  await expect(card).toContainText("·young");
  await page.keyboard.press("Escape");
  await expect(card).toHaveCount(0);
});

test("without probabilities none are asked for or shown", async ({ open }) => {
  const page = await open({ reply: "Short." });
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await page.getByRole("checkbox", { name: "Keep token probabilities" }).uncheck();
  await ask(page, "Hi");
  await expect(page.getByRole("button", { name: "Show token probabilities" })).toHaveCount(0);
});

test("settings are kept and can be reset", async ({ open }) => {
  const page = await open();
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await page.getByRole("slider", { name: "Temperature" }).fill("0");
  await expect(page.getByText("greedy")).toBeVisible();
  await page.getByRole("textbox", { name: "System prompt" }).fill("Answer in rhyme.");
  await page.getByRole("spinbutton", { name: "Longest reply" }).fill("99999");
  await page.getByRole("spinbutton", { name: "Longest reply" }).blur();
  await page.reload();
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  await expect(page.getByRole("slider", { name: "Temperature" })).toHaveValue("0");
  await expect(page.getByRole("textbox", { name: "System prompt" })).toHaveValue("Answer in rhyme.");
  await expect(page.getByRole("spinbutton", { name: "Longest reply" })).toHaveValue("8192");
  await page.getByRole("button", { name: "Reset sampling and engine" }).click();
  await expect(page.getByRole("slider", { name: "Temperature" })).toHaveValue("0.7");
});

test("colours follow the system until chosen, and the choice is kept", async ({ open }) => {
  const page = await open();
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.getByRole("button", { name: "Colours: automatic" }).click();
  expect(await ground()).toBe(light);
  await page.reload();
  expect(await ground()).toBe(light);
});

test("on a first visit the small default is loaded without being asked for", async ({ open }) => {
  const page = await open({ fresh: true });
  await expect(page.getByRole("button", { name: /Tern \(ready\)/ })).toBeVisible();
  await expect(page.getByRole("button", { name: "Hello! Who are you?" })).toBeVisible();
});

test("models: addresses are checked, kept copies are listed and deleted", async ({ open }) => {
  const page = await open({ cached: true });
  await page.getByRole("button", { name: /Choose another/ }).click();
  const address = page.getByRole("textbox", { name: "Address of a model" });
  await address.fill("not an address");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("alert")).toContainText("neither a web address");
  await expect(page.getByText("403 MB of 1.19 GB, unfinished")).toBeVisible();
  await expect(page.getByText("501 MB in all")).toBeVisible();
  await page.getByRole("button", { name: "Delete BitNet b1.58 2B 4T from this browser" }).click();
  await expect(page.getByText("98 MB in all")).toBeVisible();
  await address.fill("hf:owner/repo/some-model.gguf");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready");
});

test("a model dropped on the page is loaded", async ({ open }) => {
  const page = await open();
  const data = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["GGUF"], "dropped-model.gguf"));
    return transfer;
  });
  await page.dispatchEvent("body", "dragenter", { dataTransfer: data });
  await expect(page.getByText(/Drop a model to load it, or texts/)).toBeVisible();
  await page.dispatchEvent("body", "drop", { dataTransfer: data });
  await expect(page.getByText(/Drop a model to load it, or texts/)).toHaveCount(0);
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready");
});

test("what is kept in the browser loads by itself on the next visit", async ({ open }) => {
  const page = await open({ cached: true });
  await expect(page.locator(".lamp")).toHaveAttribute("data-state", "ready");
});

test("Ctrl+K finds conversations and actions", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "A talk about tides");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("new");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "A language model, in this tab." })).toBeVisible();
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("tides");
  await page.keyboard.press("Enter");
  await expect(page.locator(".asked .words")).toHaveText("A talk about tides");
});

test("what is typed right after a shortcut lands where the shortcut leads", async ({ open }) => {
  const page = await open({ cached: true }, "#/about");
  // The next key may come in the next task: by then the focus has moved, without waiting for a frame.
  const focusAfter = (key: string, ctrlKey: boolean) =>
    page.evaluate(
      async ({ key, ctrlKey }) => {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true }));
        await new Promise((next) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = next;
          port2.postMessage(null);
        });
        return document.activeElement?.getAttribute("aria-label");
      },
      { key, ctrlKey },
    );
  expect(await focusAfter("/", false)).toBe("Message");
  expect(await focusAfter("k", true)).toBe("Find a conversation or an action");
});

test("about: the picture's numbers are those of the weights", async ({ open }) => {
  const page = await open({ ternary: true, cached: true }, "#/about");
  await expect(page.getByText(/% of its 35 M weights are ternary/)).toBeVisible();
  const whole = page.getByRole("img", { name: /Share of the ternary weights/ });
  const shares = [...((await whole.getAttribute("aria-label")) ?? "").matchAll(/([\d.]+) %/g)].map((m) =>
    Number(m[1]),
  );
  expect(shares).toHaveLength(3);
  expect(shares.reduce((a, b) => a + b)).toBeCloseTo(100, 0);
  const widths = await whole
    .locator("rect")
    .evaluateAll((all) => all.map((one) => Number(one.getAttribute("width"))));
  const sum = widths.reduce((a, b) => a + b);
  widths.forEach((width, index) => {
    expect((width / sum) * 100).toBeCloseTo(shares[index] ?? Number.NaN, 0);
  });
  await page.getByRole("combobox", { name: "Inside" }).selectOption({ label: "Layer 7" });
  await expect(page.getByText("blk.7.ffn_down.weight")).toBeVisible();
});

test("bench: measures every length that fits, plots it, and can be stopped", async ({ open }) => {
  const page = await open({ cached: true, pace: 1 }, "#/bench");
  await page.getByRole("button", { name: "Measure" }).click();
  await page.getByRole("button", { name: "Measure again" }).waitFor();
  await expect(page.locator(".data tbody tr")).toHaveCount(4);
  await expect(
    page.getByRole("img", { name: /tokens per second by tokens of context/ }).locator("canvas"),
  ).toBeVisible();
  await page.evaluate(() => Object.assign(window.fake ?? {}, { pace: 200 }));
  await page.getByRole("button", { name: "Measure again" }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Measure again" }).waitFor();
});

test("a failed load says why in words, and trying again answers the question", async ({ open }) => {
  const page = await open({ loadError: "truncated" });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByText("The file ends too early.")).toBeVisible();
  await expect(page.getByText("(truncated)")).toBeVisible();
  await page.evaluate(() => Object.assign(window.fake ?? {}, { loadError: undefined }));
  await page.getByRole("button", { name: "Try again" }).click();
  await answered(page);
});

test("a crash keeps what was said, and trying again starts a new engine", async ({ open }) => {
  const page = await open({ replyError: "crashed" });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.getByText("The engine stopped unexpectedly.")).toBeVisible();
  await expect(page.locator(".answered .prose")).toContainText("A young tern");
  await page.evaluate(() => Object.assign(window.fake ?? {}, { replyError: undefined }));
  await page.getByRole("button", { name: "Try again" }).click();
  await answered(page);
});

test("every error has its own sentence", async ({ open }) => {
  const page = await open({ load: 0, loadError: "network" });
  await page.getByRole("button", { name: STORY }).click();
  const trouble = page.getByRole("alert");
  for (const code of CODES.filter((one) => one !== "cancelled" && one !== "unknown")) {
    await trouble.waitFor();
    await page.evaluate((loadError) => Object.assign(window.fake ?? {}, { loadError }), code);
    await page.getByRole("button", { name: "Try again" }).click();
    await expect(trouble).toContainText(`(${code})`);
    await expect(trouble).not.toContainText("Something went wrong");
  }
});

test("the address of the page may name the model", async ({ open }) => {
  const page = await open({}, "?model=/model/SmolLM2-135M-Instruct.Q4_1.gguf");
  await expect(page.getByRole("button", { name: /SmolLM2 135M Instruct/ })).toBeVisible();
  await expect(page.getByText(/fetched once, 98/)).toBeVisible();
  await page.goto("./?model=hf:owner/repo/other-model.Q8_0.gguf");
  await expect(page.getByRole("button", { name: /other-model.Q8_0 \(not loaded\)/ })).toBeVisible();
});

test("about shows the fingerprint that every machine has", async ({ open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await open({ cached: true }, "#/about");
  await page.getByRole("button", { name: "Compute the fingerprint" }).click();
  await expect(page.getByLabel("Fingerprint", { exact: true })).toHaveText(/^(01234567 89abcdef ?){4}$/);
  await page.getByRole("button", { name: "Copy the fingerprint" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("0123456789abcdef".repeat(4));
});

test("the models' list says what each needs, and how fast it will be once something was measured", async ({
  open,
}) => {
  const page = await open();
  const list = page.getByRole("dialog", { name: "Models" });
  await page.getByRole("button", { name: /Choose another/ }).click();
  await expect(list.getByText("Needs about 1.37\u00a0GB of memory")).toBeVisible();
  await expect(list.getByText("tok/s")).toHaveCount(0);
  await page.keyboard.press("Escape");
  await ask(page, "Hello");
  await page.getByRole("button", { name: /Choose another/ }).click();
  await expect(list.getByText(/wrote \d+(\.\d)? tok\/s here/)).toHaveCount(1);
  await expect(list.getByText(/about \d+(\.\d)? tok\/s here, judging by other models/)).toHaveCount(5); // all the others
});
