/** Debian's Chromium, headless, for tests. */
import { type Browser, chromium } from "playwright-core";

/** Starts a browser; `CHROMIUM` names another executable. */
export function launch(...extra: string[]): Promise<Browser> {
  return chromium.launch({
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
      ...extra,
    ],
  });
}
