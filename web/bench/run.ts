/**
 * Speed: natively, in Chromium, and the peer `@wllama/wllama` (llama.cpp compiled to WebAssembly) beside it in
 * the same run of the same browser, on the CPU, with the same threads.
 *
 *     npm run bench -- --case FILE[:PEER_FILE] [--case …] [--native PROGRAM] [--threads 1,2] [--prompt 128]
 *                      [--generate 64] [--levels relaxed,relaxed-without-vnni,simd128] [--repeat 3] [--no-peer]
 *                      [--out NAME]
 *
 * PEER_FILE is for models of which the peer reads only another encoding. A level is an instruction set; with
 * more than one thread all are measured in the `threads` build. Each engine gets a page of its own, closed
 * before the next one opens; the native program (`ternlight`) runs between them. Prints a Markdown table;
 * `--out` writes it to NAME.md and everything measured to NAME.json, after each case.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Browser } from "playwright-core";
import { launch } from "../test/browser.js";
import { FaultServer } from "../test/server.js";
import { type Case, type Measured, measureCached, measureOurs, measurePeer, withPeak } from "./page.js";

const { values } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    native: { type: "string" },
    threads: { type: "string", default: "1,2" },
    prompt: { type: "string", default: "128" },
    generate: { type: "string", default: "64" },
    levels: { type: "string", default: "relaxed,relaxed-without-vnni,simd128" },
    repeat: { type: "string", default: "3" },
    "no-peer": { type: "boolean", default: false },
    out: { type: "string" },
  },
});

interface Level {
  /** Its build when alone. */
  readonly flavour: string;
  readonly kernel: string;
  /** Of the browser. */
  readonly flags: readonly string[];
}

const LEVELS: Record<string, Level> = {
  relaxed: { flavour: "relaxed", kernel: "auto", flags: [] },
  // As on a CPU without these instructions: V8 then makes relaxed dots from others.
  "relaxed-without-vnni": {
    flavour: "relaxed",
    kernel: "auto",
    flags: ["--js-flags=--no-enable-avx-vnni --no-enable-avx-vnni-int8"],
  },
  simd128: { flavour: "simd128", kernel: "simd128", flags: [] },
};

const numbers = {
  prompt: Number(values.prompt),
  generate: Number(values.generate),
  repeat: Number(values.repeat),
};

/** The part of `ternlight bench --json` that is used here. */
interface NativeReport {
  load_ms: number;
  prefill: { tokens: number; tok_s: number; seconds: number };
  decode: { tokens: number; tok_s: number };
  kernels: string[];
  peak_rss_bytes: number | null;
  read_bandwidth_gb_s: number | null;
  decode_gb_s: number;
}

function measureNative(program: string, model: string, threads: number, head: string): Measured {
  const args = ["bench", "--json", "--model", model, "--threads", String(threads), "--head", head];
  const shape = [`--prompt=${numbers.prompt}`, `--gen=${numbers.generate}`, `--repeat=${numbers.repeat}`];
  const report: NativeReport = JSON.parse(execFileSync(program, [...args, ...shape], { encoding: "utf8" }));
  return {
    engine: "ternlight",
    flavour: head === "int8" ? "native" : `native, head ${head}`,
    threads,
    model: basename(model),
    loadMs: report.load_ms,
    promptTokens: report.prefill.tokens,
    prefillTokensPerSecond: report.prefill.tok_s,
    decodeTokens: report.decode.tokens,
    decodeTokensPerSecond: report.decode.tok_s,
    firstTokenMs: report.prefill.seconds * 1e3,
    peakRssBytes: report.peak_rss_bytes,
    kernels: report.kernels,
    error: null,
    gigabytesPerSecond: report.decode_gb_s,
    readBandwidth: report.read_bandwidth_gb_s,
  };
}

async function inBrowser(
  origin: string,
  model: string,
  test: Case,
  flags: readonly string[],
  measure: (
    browser: Browser,
    origin: string,
    test: Case,
  ) => Promise<Omit<Measured, "peakRssBytes" | "model">>,
): Promise<Measured> {
  const browser = await launch(...flags);
  try {
    const { value, peak } = await withPeak(browser, () => measure(browser, origin, test));
    return { ...value, model: basename(model), peakRssBytes: peak };
  } catch (error) {
    return {
      engine: measure === measurePeer ? "wllama" : "ternlight",
      flavour: test.flavour,
      threads: test.threads,
      model: basename(model),
      loadMs: 0,
      promptTokens: 0,
      prefillTokensPerSecond: 0,
      decodeTokens: 0,
      decodeTokensPerSecond: 0,
      firstTokenMs: 0,
      peakRssBytes: null,
      kernels: [],
      error: error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error),
    };
  } finally {
    await browser.close();
  }
}

/** All engines on one case, told to `found` one by one. */
async function measureCase(
  server: FaultServer,
  origin: string,
  files: string,
  found: (result: Measured) => void,
): Promise<void> {
  const [model = "", peerModel = model] = files.split(":").map((file) => resolve(file));
  server.files.set("/bench/ours.gguf", model);
  server.files.set("/bench/peer.gguf", peerModel);
  for (const threads of values.threads.split(",").map(Number)) {
    if (values.native !== undefined) {
      for (const head of ["int8", "native"]) found(measureNative(values.native, model, threads, head));
    }
    for (const name of values.levels.split(",")) {
      const level = LEVELS[name];
      if (level === undefined) throw new Error(`no such level: ${name}`);
      const test: Case = {
        ...numbers,
        url: `${origin}/bench/ours.gguf`,
        threads,
        flavour: threads === 1 ? level.flavour : "threads",
        kernel: level.kernel,
      };
      const result = await inBrowser(origin, model, test, level.flags, measureOurs);
      const cached = name === "relaxed" ? { cachedFirstTokenMs: await measureCached(origin, test) } : {};
      found({ ...result, ...cached, flavour: `Chromium, ${name}` });
    }
    if (!values["no-peer"]) {
      const test: Case = { ...numbers, url: `${origin}/bench/peer.gguf`, threads, flavour: "", kernel: "" };
      found(await inBrowser(origin, peerModel, test, [], measurePeer));
    }
  }
}

function table(browser: string, machine: string, results: readonly Measured[]): string {
  const peers = new Map<string, Measured>();
  const peerKey = ({ threads, case: number }: Measured): string => `${number} ${threads}`;
  for (const r of results) if (r.engine.startsWith("wllama") && r.error === null) peers.set(peerKey(r), r);
  const rate = (r: Measured, of: "prefillTokensPerSecond" | "decodeTokensPerSecond"): string => {
    const peer = peers.get(peerKey(r));
    const ratio = peer === undefined || peer === r ? "" : ` (${(r[of] / peer[of]).toFixed(1)}×)`;
    return `${r[of].toFixed(1)}${ratio}`;
  };
  const rows = results.map((r) => {
    const name = `| ${r.model} | ${r.engine}, ${r.flavour} | ${r.threads} |`;
    if (r.error !== null) return `${name} ${r.error} | | | | |`;
    const megabytes = (bytes: number): string => Math.round(bytes / 1e6).toString();
    const wasm = r.wasmBytes === undefined ? "" : ` (${megabytes(r.wasmBytes)})`;
    const peak = r.peakRssBytes === null ? "–" : `${megabytes(r.peakRssBytes)}${wasm}`;
    const rates = [rate(r, "prefillTokensPerSecond"), rate(r, "decodeTokensPerSecond")].join(" | ");
    const seconds = (ms: number): string => (ms / 1000).toFixed(2);
    const cached = r.cachedFirstTokenMs === undefined ? "" : seconds(r.cachedFirstTokenMs);
    return `${name} ${seconds(r.loadMs)} | ${cached} | ${rates} | ${peak} |`;
  });
  const bandwidths = results.flatMap(({ threads, readBandwidth }) =>
    readBandwidth ? [`${readBandwidth.toFixed(1)} GB/s with ${threads}`] : [],
  );
  return [
    `${machine}; ${browser}; on the CPU; best of ${numbers.repeat}, a prompt of ${numbers.prompt} tokens and`,
    `${numbers.generate} generated. In brackets: times the peer's speed with as many threads. Memory read`,
    `bandwidth (threads): ${[...new Set(bandwidths)].join(", ") || "not measured"}.`,
    "",
    "| model | engine | threads | load s | cached: first token s | prefill tok/s | decode tok/s | peak RSS MB (WebAssembly) |",
    "|---|---|--:|--:|--:|--:|--:|--:|",
    ...rows,
    "",
  ].join("\n");
}

async function main(): Promise<void> {
  const cases = values.case;
  if (cases === undefined) throw new Error("--case FILE is missing");
  const server = new FaultServer();
  server.isolated = true;
  const origin = await server.listen();
  const probe = await launch();
  const browser = `Chromium ${probe.version()}`;
  await probe.close();
  const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} CPUs`;
  const results: Measured[] = [];
  const report = { browser, machine, date: new Date().toISOString(), ...numbers, results };
  try {
    for (const [index, files] of cases.entries()) {
      await measureCase(server, origin, files, (result) => {
        results.push({ ...result, case: index });
        const { flavour, threads, prefillTokensPerSecond, decodeTokensPerSecond, error } = result;
        const rates = [prefillTokensPerSecond, decodeTokensPerSecond].map((r) => r.toFixed(1)).join(" / ");
        console.error(`${result.model}, ${result.engine}, ${flavour}, ${threads}: ${error ?? rates}`);
      });
      if (values.out !== undefined) {
        writeFileSync(`${values.out}.json`, `${JSON.stringify(report, null, 2)}\n`);
        writeFileSync(`${values.out}.md`, table(browser, machine, results));
      }
    }
    console.log(table(browser, machine, results));
  } finally {
    await server.close();
  }
}

await main();
