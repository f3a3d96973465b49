/** The two halves of the protocol, over a `MessageChannel`, without a browser or an engine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Crash, EngineError } from "../src/errors.js";
import { Caller, type Endpoint, type Handlers, type MemoryUse, serve } from "../src/protocol.js";

function unused(): Promise<never> {
  return Promise.reject(new Error("not called in this test"));
}

/** A worker with `handlers` at the other end of a channel. */
function pair(handlers: Partial<Handlers>) {
  const { port1, port2 } = new MessageChannel();
  const fatal: unknown[] = [];
  const crashes: EngineError[] = [];
  const none: Handlers = {
    load: unused,
    generate: unused,
    tokenize: unused,
    detokenize: unused,
    template: unused,
    embed: unused,
    logits: unused,
    fingerprint: unused,
    memory: unused,
  };
  serve(started(port2), { ...none, ...handlers }, (thrown) => fatal.push(thrown));
  const caller = new Caller(started(port1), (error) => crashes.push(error));
  return { caller, fatal, crashes, close: () => port1.close() };
}

function started(port: MessagePort): Endpoint {
  port.start();
  return port;
}

test("results come to the call that asked, in any order", async () => {
  const { caller, close } = pair({
    detokenize: async ({ tokens }) => {
      await new Promise((resolve) => setTimeout(resolve, tokens[0]));
      return tokens.join(" ");
    },
  });
  const answers = await Promise.all([
    caller.call("detokenize", { tokens: [30] }),
    caller.call("detokenize", { tokens: [1] }),
  ]);
  assert.deepEqual(answers, ["30", "1"]);
  close();
});

test("events come in order, before the result", async () => {
  const { caller, close } = pair({
    generate: async (_, { emit }) => {
      for (const id of [1, 2, 3])
        emit({ prefill: { done: id, total: 3, droppedMessages: 0, droppedTokens: 0 } });
      const timings = {
        prefillMs: 0,
        prefillTokens: 0,
        prefillTokensPerSecond: 0,
        decodeMs: 0,
        decodeTokens: 0,
        decodeTokensPerSecond: 0,
      };
      return {
        promptTokens: 3,
        cachedTokens: 0,
        tokens: 0,
        finishReason: "stop",
        stopString: null,
        droppedMessages: 0,
        droppedTokens: 0,
        speculation: null,
        timings,
      };
    },
  });
  const seen: unknown[] = [];
  const summary = await caller.call("generate", { prompt: { text: "" }, options: {} }, (event) =>
    seen.push(event),
  );
  assert.equal(summary.finishReason, "stop");
  assert.deepEqual(
    seen,
    [1, 2, 3].map((done) => ({ prefill: { done, total: 3, droppedMessages: 0, droppedTokens: 0 } })),
  );
  close();
});

test("an aborted signal reaches the handler, before and during the call", async () => {
  const { caller, close } = pair({
    embed: (_, { signal }) =>
      new Promise((_, reject) => {
        const stop = (): void => reject(new EngineError("cancelled", "stopped"));
        signal.addEventListener("abort", stop);
        if (signal.aborted) stop();
      }),
  });
  const controller = new AbortController();
  const during = caller.call("embed", { text: "" }, undefined, controller.signal);
  controller.abort();
  await assert.rejects(during, { name: "EngineError", code: "cancelled" });
  await assert.rejects(caller.call("embed", { text: "" }, undefined, AbortSignal.abort()), {
    code: "cancelled",
  });
  close();
});

test("what cannot be sent is an error of that call alone", async () => {
  const { caller, close } = pair({ memory: async () => ({ wasm: 1 }) });
  const options: Record<string, unknown> = { stop: [() => "no plain data"] };
  await assert.rejects(caller.call("generate", { prompt: { text: "" }, options }), {
    name: "EngineError",
    code: "bad-option",
  });
  assert.deepEqual(await caller.call("memory", null), { wasm: 1 });
  close();
});

test("errors keep their code and leave the engine alive", async () => {
  let calls = 0;
  const { caller, fatal, crashes, close } = pair({
    memory: async (): Promise<MemoryUse> => {
      if (++calls === 1) throw new EngineError("http", "busy", 503);
      return { wasm: 1 };
    },
  });
  await assert.rejects(caller.call("memory", null), { code: "http", message: "busy", status: 503 });
  assert.deepEqual(await caller.call("memory", null), { wasm: 1 });
  assert.deepEqual([fatal, crashes], [[], []]);
  close();
});

test("a trap fails everything that is pending and everything after", async () => {
  const { caller, fatal, crashes, close } = pair({
    tokenize: () => new Promise(() => {}),
    memory: () => Promise.reject(new Crash("unreachable")),
  });
  const hanging = assert.rejects(caller.call("tokenize", { text: "", special: false }), { code: "crashed" });
  await assert.rejects(caller.call("memory", null), { code: "crashed", message: "unreachable" });
  await hanging;
  await assert.rejects(caller.call("memory", null), { code: "crashed" });
  assert.equal(fatal.length, 1);
  assert.equal(crashes.length, 1);
  close();
});
