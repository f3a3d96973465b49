/** The command line program, for tests that need a model file or a server from it. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PROGRAM = process.env["TERNLIGHT"] ?? join(ROOT, "target/debug/ternlight");

/** The path of the program: `build.sh` names it; by hand, `cargo build -p ternlight-cli` makes it. */
export function program(): string {
  assert.ok(existsSync(PROGRAM), `${PROGRAM} is missing: cargo build -p ternlight-cli`);
  return PROGRAM;
}

/** Serves a folder as the demo is served, cross-origin isolated; the address ends with a slash. */
export async function serve(folder: string): Promise<{ url: string; child: ChildProcess }> {
  const args = ["--quiet", "serve-demo", "--dir", folder, "--port", "0"];
  const child = spawn(program(), args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line]: Buffer[] = await once(child.stdout, "data");
  const url = /http:\S+/.exec(line?.toString() ?? "")?.[0];
  assert.ok(url, "the server says where it is");
  return { url, child };
}
