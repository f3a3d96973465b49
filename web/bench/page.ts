/**
 * One model, measured in one engine in one page.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { launchWithStorage } from "../test/browser.js";

export interface Measured {
  engine: string;
  flavour: string;
  threads: number;
  model: string;
  loadMs: number;
  promptTokens: number;
  prefillTokensPerSecond: number;
  decodeTokens: number;
  decodeTokensPerSecond: number;
  firstTokenMs: number;
  /** From a page that knows nothing to the first token, the model being in the browser's cache. */
  cachedFirstTokenMs?: number;
  /** Largest resident set of the page's process, where the system tells. */
  peakRssBytes: number | null;
  /** WebAssembly's part of it. */
  wasmBytes?: number;
  kernels: string[];
  error: string | null;
  /** Natively: how fast decoding reads, and how fast the machine can. */
  gigabytesPerSecond?: number;
  readBandwidth?: number | null;
  /** Which of the run's cases. */
  case?: number;
}

/** What the peer reports with its last chunk. */
interface PeerTimings {
  prompt_n: number;
  prompt_per_second: number;
  prompt_ms: number;
  predicted_n: number;
  predicted_per_second: number;
}

export interface Case {
  url: string;
  threads: number;
  prompt: number;
  generate: number;
  repeat: number;
  flavour: string;
  kernel: string;
}

/** Text of any length whose beginning tokenizes alike in every engine. */
const SENTENCE = "The river runs slowly past the old mill, and the children count the boats that come by. ";

/** Lets `work` have a page of its own, which is closed afterwards. */
async function inPage<T>(browser: Browser, origin: string, work: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`${origin}/`);
    return await work(page);
  } finally {
    await context.close();
  }
}

export async function measureOurs(
  browser: Browser,
  origin: string,
  test: Case,
): Promise<Omit<Measured, "peakRssBytes" | "model">> {
  return inPage(browser, origin, (page) =>
    page.evaluate(
      async ({ test, sentence }) => {
        const { Engine } = await import(`${location.origin}/package/dist/index.js`);
        const began = performance.now();
        const engine = await Engine.load(test.url, {
          cache: "none",
          threads: test.threads,
          flavour: test.flavour,
          kernel: test.kernel,
          context: test.prompt + test.generate + 16,
        });
        const loadMs = performance.now() - began;
        let tokens: number[] = await engine.tokenize(sentence.repeat(Math.ceil(test.prompt / 10)));
        tokens = tokens.slice(0, test.prompt);
        const best = { prefill: 0, decode: 0, decodeTokens: 0, promptTokens: 0, firstTokenMs: 0 };
        for (let i = 0; i < test.repeat; i++) {
          // Another first token, or the whole prompt would be in the cache.
          const prompt = [tokens[i + 1] ?? 0, ...tokens.slice(1)];
          const reply = engine.generate(prompt, {
            maxTokens: test.generate,
            temperature: 0,
            ignoreStopTokens: true,
          });
          const start = performance.now();
          let first = 0;
          for await (const _ of reply) if (first === 0) first = performance.now() - start;
          const { timings, promptTokens } = await reply.summary;
          best.promptTokens = promptTokens;
          best.decodeTokens = timings.decodeTokens;
          if (timings.prefillTokensPerSecond > best.prefill) {
            best.prefill = timings.prefillTokensPerSecond;
            best.firstTokenMs = first;
          }
          best.decode = Math.max(best.decode, timings.decodeTokensPerSecond);
        }
        const { kernels, threads } = engine.info;
        const { wasm } = await engine.memory();
        const flavour = test.kernel === "auto" ? engine.flavour : `${engine.flavour}, ${test.kernel}`;
        await engine.close();
        return {
          engine: "ternlight",
          flavour,
          threads,
          loadMs,
          promptTokens: best.promptTokens,
          prefillTokensPerSecond: best.prefill,
          decodeTokens: best.decodeTokens,
          decodeTokensPerSecond: best.decode,
          firstTokenMs: best.firstTokenMs,
          wasmBytes: wasm,
          kernels,
          error: null,
        };
      },
      { test, sentence: SENTENCE },
    ),
  );
}

/** Loads the model twice in a browser that keeps it, and gives how long the second load takes to a first token. */
export async function measureCached(origin: string, test: Case): Promise<number> {
  const profile = mkdtempSync(join(tmpdir(), "ternlight-bench-"));
  const context = await launchWithStorage(profile);
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(0);
    let ms = 0;
    for (const _ of ["download", "cache"]) {
      await page.goto(`${origin}/`);
      ms = await page.evaluate(
        async ({ test, sentence }) => {
          const began = performance.now();
          const { Engine } = await import(`${location.origin}/package/dist/index.js`);
          const { threads, flavour } = test;
          const engine = await Engine.load(test.url, { threads, flavour });
          const reply = engine.generate(sentence, { maxTokens: 1, temperature: 0, ignoreStopTokens: true });
          for await (const _ of reply);
          const ms = performance.now() - began;
          await engine.close();
          return ms;
        },
        { test, sentence: SENTENCE },
      );
    }
    return ms;
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

export async function measurePeer(
  browser: Browser,
  origin: string,
  test: Case,
): Promise<Omit<Measured, "peakRssBytes" | "model">> {
  return inPage(browser, origin, (page) =>
    page.evaluate(
      async ({ test, sentence }) => {
        const base = `${location.origin}/node_modules/@wllama/wllama/esm`;
        const { Wllama } = await import(`${base}/index.js`);
        const quiet = { debug() {}, log() {}, warn() {}, error() {} };
        const wllama = new Wllama({ default: `${base}/wasm/wllama.wasm` }, { logger: quiet });
        const blob = await (await fetch(test.url)).blob();
        const began = performance.now();
        await wllama.loadModel([blob], {
          n_threads: test.threads,
          n_ctx: test.prompt + test.generate + 64,
          n_gpu_layers: 0,
        });
        const loadMs = performance.now() - began;
        const complete = async (prompt: string, tokens: number): Promise<PeerTimings> => {
          let timings: PeerTimings | undefined;
          const stream = await wllama.createCompletion({
            prompt,
            max_tokens: tokens,
            temperature: 0,
            ignore_eos: true,
            stream: true,
            cache_prompt: false,
            timings_per_token: true,
          });
          for await (const chunk of stream) timings = chunk.timings ?? timings;
          if (timings === undefined) throw new Error("no timings came");
          return timings;
        };
        // It has no tokenizer to ask: a first run tells how many tokens the sentence has.
        const { prompt_n: perSentence } = await complete(sentence, 1);
        const sentences = test.prompt / perSentence;
        const words = sentence.repeat(Math.ceil(sentences));
        const prompt = words.slice(0, Math.round(sentence.length * sentences));
        let timings: PeerTimings = {
          prompt_n: 0,
          prompt_per_second: 0,
          prompt_ms: 0,
          predicted_n: 0,
          predicted_per_second: 0,
        };
        const best = { prefill: 0, decode: 0, first: 0 };
        const start = performance.now();
        // Of a slow engine the first run tells enough.
        for (let i = 0; i < test.repeat && performance.now() - start < 60_000; i++) {
          timings = await complete(prompt, test.generate);
          if (timings.prompt_per_second > best.prefill) {
            best.prefill = timings.prompt_per_second;
            best.first = timings.prompt_ms;
          }
          best.decode = Math.max(best.decode, timings.predicted_per_second);
        }
        await wllama.exit();
        return {
          engine: "wllama 3.8.1",
          flavour: "its own",
          threads: test.threads,
          loadMs,
          promptTokens: timings.prompt_n,
          prefillTokensPerSecond: best.prefill,
          decodeTokens: timings.predicted_n,
          decodeTokensPerSecond: best.decode,
          firstTokenMs: best.first,
          kernels: [],
          error: null,
        };
      },
      { test, sentence: SENTENCE },
    ),
  );
}

/** Runs `work` and gives the largest resident set that any of the browser's page processes reached. */
export async function withPeak<T>(
  browser: Browser,
  work: () => Promise<T>,
): Promise<{ value: T; peak: number | null }> {
  const session = await browser.newBrowserCDPSession();
  let peak: number | null = null;
  const sample = async (): Promise<void> => {
    try {
      const { processInfo } = await session.send("SystemInfo.getProcessInfo");
      for (const { type, id } of processInfo) {
        if (type !== "renderer") continue;
        const status = readFileSync(`/proc/${id}/status`, "utf8");
        const kilobytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
        peak = Math.max(peak ?? 0, kilobytes * 1024);
      }
    } catch {
      // The process went away, or this system has no /proc.
    }
  };
  const timer = setInterval(() => void sample(), 500);
  try {
    const value = await work();
    return { value, peak };
  } finally {
    clearInterval(timer);
    await session.detach();
  }
}
