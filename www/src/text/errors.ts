/**
 * What each error code means to a person, and what to do about it.
 *
 * The record is complete by its type: a code that the package adds does not compile until it has its sentence here.
 */

import type { ErrorCode } from "ternlight";

export interface Advice {
  title: string;
  advice: string;
}

const DAMAGED = "Nothing was loaded. Delete the copy if there is one, and try another.";

/** What only the page can tell apart. */
export type PageErrorCode = "offline" | "unreachable";

const ADVICE: Record<ErrorCode | PageErrorCode | "unknown", Advice> = {
  "bad-magic": {
    title: "This is not a model file",
    advice:
      "It is neither GGUF nor safetensors. If it came from the web, the address may lead to a page and not to the file.",
  },
  truncated: {
    title: "The file ends too early",
    advice: "Part of it is missing. Delete the copy and fetch it again.",
  },
  "bad-header": { title: "The file is damaged", advice: `Its header contradicts itself. ${DAMAGED}` },
  "too-large": {
    title: "The file claims more than can be",
    advice: `A size in it is beyond what this page can address. ${DAMAGED}`,
  },
  "unsupported-format": {
    title: "This kind of file is not supported",
    advice: "ternlight reads ternary models and the common low-bit encodings, as GGUF or safetensors.",
  },
  "unsupported-arch": {
    title: "This architecture is not supported",
    advice: "ternlight runs BitNet, Llama and Qwen models.",
  },
  "missing-key": {
    title: "The file lacks a setting that it needs",
    advice: "It was probably converted by a tool that left it out.",
  },
  "missing-tensor": {
    title: "The file lacks some of the weights",
    advice: "If it is one part of a split model, choose all parts together.",
  },
  shape: {
    title: "The weights do not fit together",
    advice: `The file may have been converted wrongly. ${DAMAGED}`,
  },
  "bad-data": { title: "The weights are damaged", advice: DAMAGED },
  tokenizer: {
    title: "The model's tokenizer cannot be used",
    advice: "It is missing, or of a kind that ternlight does not know.",
  },
  template: {
    title: "This model cannot hold a conversation",
    advice: "Its chat format is missing or failed. It may be a base model, which only continues text.",
  },
  "bad-option": {
    title: "A setting does not fit this model",
    advice: "Reset the sampling and engine settings, then try again.",
  },
  "out-of-memory": {
    title: "There is not enough memory",
    advice: "Close other tabs, choose a smaller model, or lower the context length in the settings.",
  },
  "context-full": {
    title: "The question is longer than the model can see",
    advice: "Shorten it or the system prompt, or raise the context length in the settings.",
  },
  source: {
    title: "The file could not be read",
    advice: "It may have been moved or changed since it was chosen. Choose it again.",
  },
  checksum: {
    title: "The file is not what it should be",
    advice: "Its checksum differs, so it was not used. Fetch it again.",
  },
  cancelled: { title: "Stopped", advice: "It can be started again at any time." },
  offline: {
    title: "This machine is offline",
    advice:
      "The file is not in this browser yet. What arrived earlier is kept, and goes on with a connection.",
  },
  unreachable: {
    title: "The host does not answer",
    advice:
      "Nothing has arrived. The address may be wrong, the host may be down, or it does not let pages read its files.",
  },
  network: {
    title: "The download was interrupted",
    advice: "What has arrived is kept. Check the connection and try again: it goes on where it stopped.",
  },
  http: {
    title: "The server did not give the file",
    advice: "Check the address. Some models need a login, which this page does not do.",
  },
  "source-changed": {
    title: "The file changed while it was being fetched",
    advice: "Try again to get the new version.",
  },
  "bad-source": {
    title: "That does not lead to a model",
    advice: "Give the address of a .gguf file, hf:owner/repo/file, or choose the files of a model folder.",
  },
  "no-storage": {
    title: "This browser keeps no models",
    advice: "That is usual in private windows. The model works, but will be fetched again next time.",
  },
  quota: {
    title: "This browser has no room to keep the model",
    advice:
      "The model works, but will be fetched again next time. Deleting models you no longer need makes room.",
  },
  storage: { title: "The model could not be kept", advice: "It works, but will be fetched again next time." },
  "cache-corrupt": {
    title: "The kept copy was damaged",
    advice: "It was not used. Load the model again with a connection to fetch a fresh one.",
  },
  crashed: {
    title: "The engine stopped unexpectedly",
    advice:
      "The conversation is safe, and trying again starts a new engine. If it happens once more, a smaller model may help.",
  },
  closed: { title: "The model was put away", advice: "Trying again loads it." },
  "unsupported-browser": {
    title: "This browser cannot run the engine",
    advice: "It needs WebAssembly with SIMD, which every current browser has.",
  },
  unknown: { title: "Something went wrong", advice: "Try again. The words below may help to find out why." },
};

/** Every code there is advice for. */
export const CODES = Object.keys(ADVICE);

export function adviceFor(code: string): Advice {
  return new Map<string, Advice>(Object.entries(ADVICE)).get(code) ?? ADVICE.unknown;
}
