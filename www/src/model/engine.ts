/** Asking the model that is in use. */

import {
  type Engine,
  EngineError,
  type Message,
  type ModelInfo,
  type ReplyOptions,
  type Token,
} from "ternlight";
import type { ReplyFigures, ReplyToken } from "../state/messages";
import type { Settings } from "../state/settings";
import { noteSpeed } from "./fits";
import { discard, engine, failureOf, model, weigh, whileUsed } from "./loading";

export interface Listener {
  /** `dropped` is how many of the messages the model no longer sees. */
  onReading: (done: number, total: number, dropped: number) => void;
  /** What a reply that is gone on with begins with, in the words and ids of this model. */
  onBegun: (text: string, ids: readonly number[]) => void;
  onPiece: (text: string, tokens: ReplyToken[], ids: number[]) => void;
  /** What a token went through, and how many experts each layer that has them has. */
  onToken: (token: Token, counts: readonly number[]) => void;
}

/** What to answer, and the beginning of the answer where there is one. */
export interface Asked {
  messages: readonly Message[];
  begun: Begun | null;
}

export interface Begun {
  text: string;
  /** Without ids, those of the text are as good. */
  ids: readonly number[];
  /** The text is the one of the ids: a token was put in place of another. */
  spell?: boolean;
}

/** Token ids of a conversation and the answer so far: the engine has most of them in its cache. */
async function tokensOf(running: Engine, messages: readonly Message[], begun: Begun, listener: Listener) {
  const asked = await running.chatTokens(messages);
  const answered = begun.ids.length > 0 ? begun.ids : await running.tokenize(begun.text);
  const text = begun.spell ? await running.detokenize(answered) : begun.text;
  listener.onBegun(text, answered);
  return [...asked, ...answered];
}

/** What is asked of a model that has experts or a loop, as far as this one has them. */
function insideOptions({ experts, loop }: ModelInfo, how: Settings): ReplyOptions {
  const fewest = Math.min(...(experts?.count.filter((count) => count > 0) ?? []));
  const loops = Math.min(how.loops, loop?.most ?? 0);
  return {
    ...(experts && { reportExperts: true }),
    ...(experts && how.experts > 0 && { experts: Math.min(how.experts, fewest) }),
    ...(loops > 0 && { loops }),
    ...(loop?.exit === "gate" && how.exit < 1 && { exitThreshold: how.exit, earlyExit: true }),
  };
}

/**
 * Asks the model, and tells `listener` what comes. Ends normally when `signal` stops it. Another model may take over
 * meanwhile: this reply is still finished by the one that began it.
 */
export async function answer(
  { messages, begun }: Asked,
  how: Settings,
  signal: AbortSignal,
  listener: Listener,
): Promise<ReplyFigures> {
  const running = engine.value;
  const { name } = model.value;
  if (!running) throw new EngineError("closed", "no model is loaded");
  const system = how.system.trim();
  const given = system ? [{ role: "system", content: system }, ...messages] : messages;
  const options: ReplyOptions = {
    maxTokens: how.maxTokens,
    temperature: how.temperature,
    topK: how.topK,
    topP: how.topP,
    minP: how.minP,
    repetitionPenalty: how.repetitionPenalty,
    ...(how.seed === null ? {} : { seed: how.seed }),
    topLogprobs: how.probabilities ? 5 : 0,
    ...insideOptions(running.info, how),
    // A conversation outgrows every context at some time; the oldest turns then fall out of sight.
    overflow: "slide",
    signal,
    onPrefill: ({ done, total, droppedMessages }) => listener.onReading(done, total, droppedMessages),
  };
  const reply = begun
    ? running.generate(await tokensOf(running, given, begun, listener), options)
    : running.chat(given, options);
  void whileUsed(running, reply.summary).catch(() => {});
  const counts = running.info.experts?.count.filter((count) => count > 0) ?? [];
  const weighing = setInterval(() => void weigh(), 2000);
  try {
    for await (const { text, tokens } of reply) {
      const spoken = tokens.map((token) => ({
        text: token.text,
        logprob: token.logprob,
        top: token.top.map(({ id, text, logprob }) => ({ id, text, logprob })),
      }));
      const ids = tokens.map(({ id }) => id);
      listener.onPiece(text, spoken, ids);
      for (const token of tokens) listener.onToken(token, counts);
    }
    const { promptTokens, cachedTokens, tokens, finishReason, droppedMessages, timings } =
      await reply.summary;
    noteSpeed(name, running.info, timings.decodeTokensPerSecond, tokens);
    return {
      promptTokens,
      cachedTokens,
      tokens,
      prefillTokensPerSecond: timings.prefillTokensPerSecond,
      decodeTokensPerSecond: timings.decodeTokensPerSecond,
      finish: finishReason,
      droppedMessages,
    };
  } catch (error) {
    if (failureOf(error).code === "crashed") await discard(running);
    throw error;
  } finally {
    clearInterval(weighing);
    void weigh();
  }
}
