/** Debian's Chromium, headless, for tests. */
import { type Browser, type BrowserContext, chromium } from "playwright-core";

const OPTIONS = {
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};

/** Starts a browser, whose pages are private windows; `CHROMIUM` names another executable. */
export function launch(...extra: string[]): Promise<Browser> {
  return chromium.launch({ ...OPTIONS, args: [...OPTIONS.args, ...extra] });
}

/** Starts a browser that keeps in a folder what pages store. */
export function launchWithStorage(folder: string): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, OPTIONS);
}
