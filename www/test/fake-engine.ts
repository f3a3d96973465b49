/**
 * Stands in for the npm package in `--mode fake` builds: the same calls, scripted answers.
 *
 * A test says what should happen through `window.fake` before the page starts. Nothing of this file is in a production
 * build; the figures it gives are made up and used by no one but the tests of the page.
 */

import type {
  CacheEntry,
  ChatOptions,
  ErrorCode,
  LoadOptions,
  Message,
  ModelInfo,
  ModelSource,
  Piece,
  ReplyOptions,
  Summary,
  TensorSummary,
  Token,
} from "ternlight";

/** What a test may ask for. */
export interface Script {
  /** A first visit: nothing is remembered. */
  fresh?: boolean;
  /** Milliseconds that loading takes; `forever` stays at 60 %. */
  load?: number | "forever";
  /** The load fails with this code. */
  loadError?: ErrorCode;
  /** The host does not answer: every attempt fails at once, and is repeated as the package does it. */
  unreachable?: boolean;
  /** The reply fails with this code after a few words. */
  replyError?: ErrorCode;
  /** How many tokens the model sees. */
  context?: number;
  /** Milliseconds between tokens. */
  pace?: number;
  reply?: string;
  /** What a reply says that is gone on with. */
  more?: string;
  ternary?: boolean;
  cached?: boolean;
  /** The model is a mixture of experts, or looped. */
  made?: "experts" | "loop";
}

type InsideOption = "experts" | "loops" | "exitThreshold" | "earlyExit" | "reportExperts";

declare global {
  interface Window {
    fake?: Script;
    /** What the last load was told. */
    loadedFrom?: string;
    /** How many tokens the last prompt of token ids had. */
    continued?: number;
    /** The text of that prompt. */
    begun?: string;
    /** What the last question was asked with. */
    asked?: {
      system: string | null;
      temperature: number | undefined;
      messages: Message[];
      /** What a model with experts or a loop was told besides. */
      inside: { [K in InsideOption]?: ChatOptions[K] | undefined };
    };
  }
}

const script = (): Script => window.fake ?? {};
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class EngineError extends Error {
  override readonly name = "EngineError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly status: number | null = null,
  ) {
    super(message);
  }
}

const REPLY = `A young tern named **Pell** lived on a cliff above the grey water. Every morning the others dived, and every morning Pell stayed on the rock and counted waves.

"What are you counting for?" asked her grandmother.

"To see if they ever stop," said Pell.

They never did. So she made a small plan:

1. Stand one step closer each day.
2. Learn the *name* of one fish.
3. Ask the wind, which knows everyone.

On the ninth day the wind came from the south, lifted her without asking, and set her down on the water as gently as \`foam\`. It was cold. It was also, she noticed, holding her up.`;

/** Repeatable noise, so that screenshots stay comparable. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const OTHERS = [" the", " a", " sea", " small", ",", ".", " and", " her", " water", " that", "\n\n", " wind"];

/** Every piece that was ever a token; its place is its id. */
const vocabulary: string[] = [...OTHERS];

function idOf(piece: string): number {
  const found = vocabulary.indexOf(piece);
  return found < 0 ? vocabulary.push(piece) - 1 : found;
}

function tokensOf(text: string, alternatives: number): Token[] {
  const random = noise(7);
  return (text.match(/\s*[\p{L}\p{N}']+|\s*[^\p{L}\p{N}\s]+|\s+/gu) ?? []).map((piece, index) => {
    const id = idOf(piece);
    const p = Math.min(0.999, 0.04 + random() ** 0.45);
    let rest = 1 - p;
    const top = [{ id, text: piece, logprob: Math.log(p) }];
    for (let i = 1; i < alternatives; i += 1) {
      const q = rest * (0.3 + random() * 0.4);
      rest -= q;
      const other = (index + i * 5) % OTHERS.length;
      top.push({ id: other, text: OTHERS[other] ?? "", logprob: Math.log(q) });
    }
    return {
      id,
      text: piece,
      logprob: Math.log(p),
      top: alternatives > 0 ? top.sort((a, b) => b.logprob - a.logprob) : [],
    };
  });
}

function tensors(ternary: boolean): TensorSummary[] {
  const random = noise(3);
  const width = ternary ? 512 : 576;
  const inner = ternary ? 1280 : 1536;
  const layers = ternary ? 12 : 30;
  const one = (name: string, rows: number, cols: number, weights: boolean): TensorSummary => {
    const size = rows * cols;
    const zero = Math.round(size * (0.3 + random() * 0.2));
    const minus = Math.round((size - zero) * (0.48 + random() * 0.04));
    const is = ternary && weights;
    return {
      name,
      rows,
      cols,
      encoding: is ? "I2_S" : weights ? "Q4_1" : rows > 1 ? "Q8_0" : "F32",
      form: is ? "ternary" : weights ? "q4" : rows > 1 ? "q8" : "f32",
      kernel: is ? "ternary/simd128" : weights ? "q4/simd128" : rows > 1 ? "q8/simd128" : "",
      bytes: is ? size / 4 + rows * 4 : weights ? size * 0.75 : rows > 1 ? size * 1.25 : size * 4,
      sameAs: null,
      counts: is ? [minus, zero, size - zero - minus] : null,
    };
  };
  const all = [one("token_embd.weight", ternary ? 4096 : 49152, width, false)];
  for (let layer = 0; layer < layers; layer += 1) {
    const at = (name: string) => `blk.${layer}.${name}.weight`;
    all.push(
      one(at("attn_norm"), 1, width, false),
      one(at("attn_q"), width, width, true),
      one(at("attn_k"), width / (ternary ? 2 : 3), width, true),
      one(at("attn_v"), width / (ternary ? 2 : 3), width, true),
      one(at("attn_output"), width, width, true),
      one(at("ffn_norm"), 1, width, false),
      one(at("ffn_gate"), inner, width, true),
      one(at("ffn_up"), inner, width, true),
      one(at("ffn_down"), width, inner, true),
    );
  }
  all.push(one("output_norm.weight", 1, width, false));
  return all;
}

function madeOf(layers: number): Pick<ModelInfo, "experts" | "loop" | "loops" | "sparseInputs"> {
  switch (script().made) {
    case "experts": {
      const each = (experts: number) =>
        Array.from({ length: layers }, (_, layer) => (layer === 0 ? 0 : experts));
      return { experts: { count: each(16), active: each(2), shared: true }, sparseInputs: [] };
    }
    case "loop":
      return {
        loop: { before: 2, inside: layers - 4, after: 2, most: 256, exit: "gate" },
        loops: 4,
        sparseInputs: [
          { layer: "o", kept: 0.5, block: null },
          { layer: "down", kept: 0.5, block: 32 },
        ],
      };
    default:
      return { sparseInputs: [] };
  }
}

/** What the token of some number went through. */
function wayOf(info: ModelInfo, index: number): Pick<Token, "experts" | "loops"> {
  if (info.loop) return { loops: 1 + ((index * 7) % 4) };
  if (!info.experts) return {};
  const { count } = info.experts;
  return {
    experts: count.flatMap((all, layer) => (all ? [[(index + layer) % all, (index * 5 + layer) % all]] : [])),
  };
}

function information(): ModelInfo {
  const ternary = script().ternary ?? false;
  const all = tensors(ternary);
  const packedBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    name: ternary ? "Tern 33M" : "SmolLM2 135M Instruct",
    arch: ternary ? "bitnet" : "llama",
    params: all.reduce((sum, { rows, cols }) => sum + rows * cols, 0),
    context: script().context ?? 2048,
    trainedContext: ternary ? 2048 : 8192,
    vocab: ternary ? 4096 : 49152,
    layers: ternary ? 12 : 30,
    ...madeOf(ternary ? 12 : 30),
    hidden: ternary ? 512 : 576,
    feedForward: ternary ? 1280 : 1536,
    heads: ternary ? 8 : 9,
    kvHeads: ternary ? 4 : 3,
    fileBytes: ternary ? 11_000_000 : 98_362_432,
    packedBytes,
    sharedBytes: 0,
    kernels: ternary ? ["ternary/simd128", "q8/simd128"] : ["q4/simd128", "q8/simd128"],
    headDim: 64,
    bytesPerToken: packedBytes,
    kv: "f16",
    tokenizer: true,
    threads: 1,
    tensors: all,
    chat: true,
    license: "apache-2.0",
    sampling: { temperature: null, topK: null, topP: null, minP: null, repetitionPenalty: null },
  };
}

type Say = (piece: Piece) => void;

class Reply {
  readonly summary: Promise<Summary>;
  readonly #ready: Piece[] = [];
  #ended = false;
  #wake = () => {};

  constructor(run: (say: Say) => Promise<Summary>) {
    this.summary = run((piece) => {
      this.#ready.push(piece);
      this.#wake();
    }).finally(() => {
      this.#ended = true;
      this.#wake();
    });
    this.summary.catch(() => {});
  }

  async text(): Promise<string> {
    let text = "";
    for await (const piece of this) text += piece.text;
    return text;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece> {
    for (;;) {
      const piece = this.#ready.shift();
      if (piece) yield piece;
      else if (this.#ended) {
        await this.summary;
        return;
      } else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

function summary(
  promptTokens: number,
  tokens: number,
  finishReason: Summary["finishReason"],
  droppedMessages: number,
): Summary {
  const decodeTokensPerSecond = 118 / (1 + promptTokens / 5200);
  return {
    promptTokens,
    cachedTokens: 0,
    tokens,
    finishReason,
    stopString: null,
    droppedMessages,
    droppedTokens: 0,
    speculation: null,
    timings: {
      prefillMs: promptTokens / 0.262,
      prefillTokens: promptTokens,
      prefillTokensPerSecond: 262 / (1 + promptTokens / 9000),
      decodeMs: (tokens / decodeTokensPerSecond) * 1000,
      decodeTokens: tokens,
      decodeTokensPerSecond,
    },
  };
}

export class Engine {
  readonly info = information();
  readonly flavour = "simd128";
  #closed = false;

  static async load(source: ModelSource, options: LoadOptions = {}): Promise<Engine> {
    const { load = 300, loadError, unreachable } = script();
    window.loadedFrom = JSON.stringify(source);
    if (unreachable) {
      await sleep((options.retryDelay ?? 500) * (2 ** (options.retries ?? 5) - 1));
      throw new EngineError("network", "https://no.such.host/: Failed to fetch");
    }
    const total = 98_362_432;
    const steps = 20;
    for (let step = 0; step <= steps; step += 1) {
      const part = load === "forever" ? Math.min(step / steps, 0.6) : step / steps;
      options.onProgress?.({
        phase: step === steps && load !== "forever" ? "prepare" : "download",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        fileIndex: 0,
        fileCount: 1,
        loaded: Math.round(part * total),
        total,
        rate: 11_400_000,
        secondsLeft: ((1 - part) * total) / 11_400_000,
        retries: 0,
      });
      if (loadError && step === 9)
        throw new EngineError(loadError, "blk.3.ffn_down.weight: the file ends 41 MB before it should");
      await sleep(load === "forever" ? 10 : load / steps);
      while (load === "forever" && step === steps && !options.signal?.aborted) await sleep(50);
      if (options.signal?.aborted) throw new EngineError("cancelled", "cancelled");
    }
    return new Engine();
  }

  chat(messages: readonly Message[], options: ChatOptions = {}): Reply {
    const said = script().reply ?? REPLY;
    const system = messages.find(({ role }) => role === "system")?.content ?? null;
    const { experts, loops, exitThreshold, earlyExit, reportExperts } = options;
    const inside = { experts, loops, exitThreshold, earlyExit, reportExperts };
    window.asked = { system, temperature: options.temperature ?? undefined, messages: [...messages], inside };
    const lengths = messages.map(({ content }) => Math.ceil(content.length / 4) + 5);
    const sum = () => lengths.reduce((a, b) => a + b, 0);
    let dropped = 0;
    for (; sum() >= this.info.context && lengths.length > 1 && options.overflow === "slide"; dropped += 1)
      lengths.splice(messages[0]?.role === "system" ? 1 : 0, 1);
    return this.#say(said, sum(), options, dropped);
  }

  generate(prompt: string | readonly number[], options: ReplyOptions = {}): Reply {
    window.continued = prompt.length;
    window.begun = typeof prompt === "string" ? prompt : prompt.map((id) => vocabulary[id] ?? "").join("");
    return this.#say(script().more ?? REPLY, prompt.length, options);
  }

  #say(text: string, promptTokens: number, options: ReplyOptions, dropped = 0): Reply {
    return new Reply(async (say) => {
      const { pace = 8, replyError } = script();
      if (promptTokens >= this.info.context)
        throw new EngineError("context-full", `${promptTokens} of ${this.info.context} tokens`);
      const given = { done: promptTokens, total: promptTokens };
      options.onPrefill?.({ ...given, droppedMessages: dropped, droppedTokens: 0 });
      await sleep(pace * 2);
      let written = 0;
      for (const token of tokensOf(text, options.topLogprobs ?? 0).slice(0, options.maxTokens)) {
        if (options.signal?.aborted) return summary(promptTokens, written, "cancelled", dropped);
        if (this.#closed) throw new EngineError("closed", "the engine was closed");
        if (replyError && written === 12) throw new EngineError(replyError, "memory access out of bounds");
        const way = wayOf(this.info, written);
        say({
          text: token.text,
          tokens: [options.reportExperts || way.loops ? { ...token, ...way } : token],
        });
        written += 1;
        await sleep(pace);
      }
      return summary(promptTokens, written, written === options.maxTokens ? "length" : "stop", dropped);
    });
  }

  async chatTokens(messages: readonly Message[]): Promise<number[]> {
    return messages.flatMap(({ content }) => tokensOf(content, 0).map(({ id }) => id));
  }

  async fingerprint(): Promise<string> {
    await sleep(50);
    return "0123456789abcdef".repeat(4);
  }

  async detokenize(tokens: readonly number[]): Promise<string> {
    return tokens.map((id) => vocabulary[id] ?? "").join("");
  }

  async tokenize(text: string): Promise<number[]> {
    return tokensOf(text, 0).map(({ id }) => id);
  }

  async memory(): Promise<{ wasm: number }> {
    return { wasm: 187_000_000 };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

let entries: CacheEntry[] | null = null;

function held(): CacheEntry[] {
  const entry = (url: string, bytes: number, total: number): CacheEntry => ({
    url: new URL(url, document.baseURI).href,
    bytes,
    total,
    complete: bytes === total,
    sha256: null,
    savedAt: new Date(2026, 0, 1),
  });
  entries ??= script().cached
    ? [
        entry("model/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432, 98_362_432),
        entry(
          "https://huggingface.co/microsoft/bitnet-b1.58-2B-4T-gguf/resolve/main/ggml-model-i2_s.gguf",
          402_653_184,
          1_187_801_280,
        ),
      ]
    : [];
  return entries;
}

export const cache = {
  async list(): Promise<CacheEntry[]> {
    return held();
  },
  async persist(): Promise<boolean> {
    return true;
  },
  async estimate(): Promise<{ usage: number; quota: number }> {
    return { usage: 501_000_000, quota: 12_400_000_000 };
  },
  async remove(url: string | URL): Promise<void> {
    entries = held().filter((entry) => entry.url !== String(url));
  },
};
