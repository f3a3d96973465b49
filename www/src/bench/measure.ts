/**
 * Measuring the loaded model through the same calls a chat makes.
 *
 * One growing prompt is used: every stage keeps what earlier ones computed, so the prefill of a stage is only its new
 * tokens. Each figure is what the engine's own clock says.
 */

import type { Engine } from "ternlight";

export interface Reading {
  /** Tokens of context before the first generated one. */
  context: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

export interface Bench {
  model: string;
  flavour: string;
  kernels: string[];
  threads: number;
  /** What the browser says this machine has. */
  cores: number;
  isolated: boolean;
  /** Bytes of weights that one generated token reads. */
  bytesPerToken: number;
  readings: Reading[];
}

const LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192];
const GENERATED = 24;

const PASSAGE =
  "The arctic tern nests in the far north and winters at the edge of the southern ice. It sees more daylight than any other " +
  "animal, and in its life it may fly as far as three times to the moon and back. It feeds on small fish, hovering over the " +
  "water before it dives, and it defends its nest against anything that comes near. ";

/** Stages that fit the context of the engine. */
export function stages(context: number): number[] {
  return LENGTHS.filter((length) => length + GENERATED <= context);
}

export async function* measure(engine: Engine, signal: AbortSignal): AsyncGenerator<Reading> {
  const lengths = stages(engine.info.context);
  const longest = lengths.at(-1) ?? 0;
  const once = await engine.tokenize(PASSAGE);
  const tokens: number[] = [];
  while (tokens.length < longest) tokens.push(...once);
  for (const context of lengths) {
    const reply = engine.generate(tokens.slice(0, context), {
      maxTokens: GENERATED,
      temperature: 1,
      seed: context,
      signal,
    });
    await reply.text();
    const { timings, finishReason } = await reply.summary;
    if (finishReason === "cancelled") return;
    yield {
      context,
      prefillTokensPerSecond: timings.prefillTokensPerSecond,
      decodeTokensPerSecond: timings.decodeTokensPerSecond,
    };
  }
}
