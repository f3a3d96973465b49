/** Nothing that was said is lost: two tabs with one conversation, branches after a reload, data of earlier versions. */

import type { Page } from "@playwright/test";
import { answered, ask, expect, STORY, test } from "./page";

const words = (page: Page) => page.locator(".asked .words");

async function openFirst(page: Page): Promise<void> {
  await page.locator(".chats .open").first().click();
}

interface Stored {
  role: string;
  text: string;
  shown: Record<string, string>;
}

/** All that a store of the database holds. */
function stored(page: Page, name: "chats" | "messages"): Promise<Stored[]> {
  return page.evaluate(async (store) => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("ternlight");
      request.onsuccess = () => resolve(request.result);
    });
    const all = await new Promise<Stored[]>((resolve) => {
      const request = db.transaction(store).objectStore(store).getAll();
      request.onsuccess = () => resolve(request.result);
    });
    db.close();
    return all;
  }, name);
}

test("what one tab asks appears in the other, and each goes on from there", async ({ open, openTab }) => {
  const first = await open({ reply: "From the first tab." });
  await ask(first, "One");
  const second = await openTab({ reply: "From the second tab." });
  await openFirst(second);
  await expect(words(second)).toHaveText(["One"]);

  await ask(first, "Two");
  await expect(words(second)).toHaveText(["One", "Two"]);
  await expect(second.locator(".answered .prose")).toHaveCount(2);
  await ask(second, "Three");
  await expect(words(first)).toHaveText(["One", "Two", "Three"]);
  await expect(first.locator(".answered .prose").last()).toHaveText("From the second tab.");

  await first.reload();
  await openFirst(first);
  await expect(words(first)).toHaveText(["One", "Two", "Three"]);
});

test("two tabs that ask at the same time both keep their question", async ({ open, openTab }) => {
  const first = await open({ pace: 25 });
  await ask(first, "One");
  const second = await openTab({ pace: 25 });
  await openFirst(second);
  await expect(words(second)).toHaveText(["One"]);
  await Promise.all([ask(first, "Left"), ask(second, "Right")]);
  await expect(words(first)).toHaveText(["One", "Left"]);
  await expect(words(second)).toHaveText(["One", "Right"]);
  await first.reload();
  const asked = (await stored(first, "messages")).filter(({ role }) => role === "user");
  expect(asked.map(({ text }) => text).sort()).toEqual(["Left", "One", "Right"]);
  await openFirst(first);
  await expect(
    first
      .locator(".asked")
      .last()
      .getByText(/\d \/ 2/),
  ).toBeVisible();
});

test("a name and a new message from two tabs do not undo each other; a deleted chat goes everywhere", async ({
  open,
  openTab,
}) => {
  const first = await open({ reply: "Yes." });
  await ask(first, "Question");
  const second = await openTab({ reply: "Yes." });
  await openFirst(second);
  await first.getByRole("button", { name: "More for Question" }).click();
  await first.getByRole("button", { name: "Rename" }).click();
  await first.getByRole("textbox", { name: "Name of the conversation" }).fill("A name");
  await first.keyboard.press("Enter");
  await expect(second.getByRole("heading", { level: 1 })).toHaveText("A name");
  await ask(second, "Another");
  await second.reload();
  await openFirst(second);
  await expect(second.getByRole("heading", { level: 1 })).toHaveText("A name");
  await expect(words(second)).toHaveText(["Question", "Another"]);

  await first.getByRole("button", { name: "More for A name" }).click();
  await first.getByRole("button", { name: "Delete" }).click();
  await expect(second.locator(".chats .open")).toHaveCount(0);
  await expect(words(second)).toHaveCount(0);
  await first.getByRole("button", { name: "Undo" }).click();
  await openFirst(second);
  await expect(words(second)).toHaveText(["Question", "Another"]);
});

test("branches and the chosen version are there after a reload", async ({ open }) => {
  const page = await open({ reply: "One." });
  await ask(page, "First wording");
  await ask(page, "Follow-up");
  await page.getByRole("button", { name: "Edit and ask again" }).first().click();
  await page.getByRole("textbox", { name: "Edit the question" }).fill("Second wording");
  await page.keyboard.press("Enter");
  await answered(page);
  await page.reload();
  await openFirst(page);
  await expect(words(page)).toHaveText(["Second wording"]);
  await page.locator(".asked").first().hover();
  await page.getByRole("button", { name: "Earlier version" }).first().click();
  await expect(words(page)).toHaveText(["First wording", "Follow-up"]);
  await expect
    .poll(async () => (await stored(page, "chats")).flatMap(({ shown }) => Object.keys(shown)))
    .toHaveLength(1);
  await page.reload();
  await openFirst(page);
  await expect(words(page)).toHaveText(["First wording", "Follow-up"]);
});

test("each conversation has an address: reload, Back and bookmarks keep it", async ({ open, openTab }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "First chat");
  const first = page.url();
  await page.getByRole("button", { name: "New chat" }).click();
  await ask(page, "Second chat");
  expect(page.url()).not.toBe(first);
  await page.reload();
  await expect(words(page)).toHaveText(["Second chat"]);
  await page.getByRole("button", { name: "Bench" }).click();
  await expect(page.getByRole("heading", { name: "How fast is it here?" })).toBeVisible();
  await page.goBack();
  await expect(words(page)).toHaveText(["Second chat"]);
  await page.goBack();
  await expect(words(page)).toHaveCount(0);
  await page.goBack();
  await expect(words(page)).toHaveText(["First chat"]);
  const tab = await openTab({}, new URL(first).hash);
  await expect(words(tab)).toHaveText(["First chat"]);
});

test("a thousand conversations are listed at once, and all can be reached", async ({ open }) => {
  const page = await open({ reply: "Yes." });
  await ask(page, "Newest");
  await page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("ternlight");
      request.onsuccess = () => resolve(request.result);
    });
    const store = db.transaction("chats", "readwrite").objectStore("chats");
    for (let index = 0; index < 1000; index += 1)
      store.put({
        id: `c${index}`,
        title: `Talk ${index}`,
        named: true,
        created: 1,
        updated: 1e12 - index,
        shown: {},
      });
    await new Promise((resolve) => {
      store.transaction.oncomplete = resolve;
    });
    db.close();
  });
  await page.reload();
  const rows = page.locator(".chats .open");
  await expect(rows.nth(1)).toHaveText("Talk 0");
  expect(await rows.count()).toBeLessThan(200);
  const last = rows.filter({ hasText: "Talk 999" });
  await expect(async () => {
    await rows.last().scrollIntoViewIfNeeded({ timeout: 500 });
    expect(await last.count()).toBe(1);
  }).toPass({ intervals: [20] });
  await page.keyboard.press("Control+k");
  await page.keyboard.type("Talk 876");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Talk 876");
});

test("with 200 messages sending does not stall the page", async ({ open }) => {
  const page = await open({ reply: "Yes.", pace: 5 });
  await ask(page, "Long talk");
  await page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("ternlight");
      request.onsuccess = () => resolve(request.result);
    });
    const store = db.transaction("messages", "readwrite").objectStore("messages");
    const all = await new Promise<{ id: string; role: string; chat: string; created: number }[]>(
      (resolve) => {
        const request = store.getAll();
        request.onsuccess = () => resolve(request.result);
      },
    );
    const last = all.find(({ role }) => role === "assistant");
    let parent = last?.id;
    for (let index = 0; index < 200; index += 1) {
      const id = `extra-${index}`;
      const role = index % 2 === 0 ? "user" : "assistant";
      const text = `**Message** ${index} with a list:\n\n- one\n- two\n\n\`\`\`js\nconst a = ${index};\n\`\`\`\n\nand some more words to read.`;
      store.put({
        id,
        chat: last?.chat,
        parent,
        created: (last?.created ?? 0) + index,
        role,
        text,
        tokens: [],
        model: "M",
      } as never);
      parent = id;
    }
    await new Promise((resolve) => {
      store.transaction.oncomplete = resolve;
    });
    db.close();
  });
  await page.reload();
  await expect(words(page)).toHaveCount(101);
  await page.waitForTimeout(1000);
  await page.getByRole("textbox", { name: "Message" }).fill("And now?");
  // Nothing is looked for meanwhile: looking takes the page's time, too.
  const longest = await tracing(page, async () => {
    await page.keyboard.press("Enter");
    await page.waitForTimeout(2000);
  });
  await answered(page);
  console.log(`longest task when sending: ${longest.toFixed(1)} ms`);
  expect(longest).toBeLessThan(50);
});

/** The longest task of the page's main thread while something is done, in milliseconds of the processor and not of the clock. */
async function tracing(page: Page, run: () => Promise<void>): Promise<number> {
  const session = await page.context().newCDPSession(page);
  const events: {
    name: string;
    cat: string;
    tid: number;
    pid: number;
    tdur?: number;
    args?: { name?: string };
  }[] = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as typeof events)));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { includedCategories: ["disabled-by-default-devtools.timeline", "__metadata"] },
  });
  await run();
  const done = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await done;
  const main = new Set(
    events
      .filter((event) => event.name === "thread_name" && event.args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid}/${tid}`),
  );
  const tasks = events.filter(
    ({ name, pid, tid, tdur }) => name === "RunTask" && main.has(`${pid}/${tid}`) && tdur !== undefined,
  );
  expect(tasks.length).toBeGreaterThan(10);
  return Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000;
}

test("conversations of the first version are moved, and nothing is dropped", async ({ open, page }) => {
  await page.route("**/old.html", (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
  );
  await page.goto("./old.html");
  await page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("ternlight", 1);
      request.onupgradeneeded = () =>
        request.result.createObjectStore("chats", { keyPath: "id" }).createIndex("updated", "updated");
      request.onsuccess = () => resolve(request.result);
    });
    const reply = (text: string) => ({ text, model: "Old model", tokens: [] });
    const transaction = db.transaction("chats", "readwrite");
    const store = transaction.objectStore("chats");
    store.put({
      id: "a",
      title: "Named by hand",
      named: true,
      created: 1000,
      updated: 5000,
      turns: [
        { role: "user", text: "First" },
        { role: "assistant", replies: [reply("Version one"), reply("Version two")], shown: 0 },
        { role: "user", text: "Second" },
        { role: "assistant", replies: [reply("Last answer")], shown: 0 },
      ],
    });
    store.put({
      id: "b",
      title: "Unanswered",
      named: false,
      created: 1000,
      updated: 4000,
      turns: [
        { role: "user", text: "Unanswered" },
        { role: "assistant", replies: [], shown: 0 },
      ],
    });
    await new Promise((resolve) => {
      transaction.oncomplete = resolve;
    });
    db.close();
  });
  await open();
  await expect(page.locator(".chats .open")).toHaveText(["Named by hand", "Unanswered"]);
  await openFirst(page);
  await expect(words(page)).toHaveText(["First", "Second"]);
  await expect(page.locator(".answered .prose")).toHaveText(["Version one", "Last answer"]);
  await page.locator(".answered").first().hover();
  await page.getByRole("button", { name: "Later version" }).first().click();
  await expect(page.locator(".answered .prose")).toHaveText(["Version two"]);
  await page.locator(".chats .open").last().click();
  await expect(page.getByRole("button", { name: "Answer this" })).toBeVisible();
});

test("a reply that a closed page left unfinished says so", async ({ open, openTab }) => {
  const page = await open({ pace: 60 });
  await page.getByRole("button", { name: STORY }).click();
  await expect(page.locator(".answered .prose")).toContainText("counted waves", { timeout: 20_000 });
  // Another tab sees it grow, and is not told that it was cut off.
  const second = await openTab();
  await openFirst(second);
  await expect(second.getByText("Being written in another tab")).toBeVisible();
  await page.reload();
  await openFirst(page);
  await expect(page.locator(".answered .prose")).toContainText("young tern");
  await expect(page.getByText("Cut off: the page was closed")).toBeVisible();
  await expect(second.getByText("Cut off: the page was closed")).toBeVisible();
});
