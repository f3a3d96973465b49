/**
 * All conversations as one file, and back. A file is checked to its last message before anything is stored, and what is
 * stored goes in as one: a damaged file changes nothing. What is here already stays as it is.
 */

import { allMessagesOf, chats, takeOver } from "./chats";
import { addAll, durable, readAll } from "./database";
import { saveFile } from "./exportChat";
import type {
  Candidate,
  ChatMessage,
  ChatRecord,
  Question,
  Reply,
  ReplyFigures,
  ReplyToken,
} from "./messages";
import { readOwn } from "./settings";

const FORMAT = "ternlight-chats";
const VERSION = 1;
/** More than this no browser reads into one string reliably. */
const LARGEST = 256_000_000;

/** Everything that is here, also where the browser stores nothing. */
async function everything(): Promise<Restored[]> {
  if (durable.value) return readAll();
  return Promise.all(
    chats.value.map(async (record) => ({ record, messages: await allMessagesOf(record.id) })),
  );
}

export async function exportAll(): Promise<number> {
  const all = await everything();
  const kept = all.filter(({ record }) => !record.deleted);
  const file = {
    format: FORMAT,
    version: VERSION,
    exported: new Date().toISOString(),
    chats: kept.map(({ record, messages }) => ({ ...record, messages })),
  };
  const date = file.exported.slice(0, 10);
  saveFile(`ternlight-chats-${date}.json`, "application/json", JSON.stringify(file));
  return kept.length;
}

/** What is wrong with a file, and where. */
export class ImportError extends Error {}

export interface Imported {
  chats: number;
  messages: number;
  /** Messages that were here already. */
  known: number;
}

export async function importAll(file: File): Promise<Imported> {
  if (file.size > LARGEST) throw new ImportError(`${file.name} is too large to be read at once`);
  const found = parse(await file.text(), file.name);
  const messages = found.flatMap((one) => one.messages);
  const added = await addAll(
    found.map(({ record }) => record),
    messages,
  );
  if (added === null) throw new ImportError("this browser keeps no conversations, or has no room for them");
  await takeOver(found.map(({ record }) => record.id));
  return { chats: found.length, messages: added, known: messages.length - added };
}

export interface Restored {
  record: ChatRecord;
  messages: ChatMessage[];
}

/** Reads a file of all conversations, or of one as its menu exports it. */
export function parse(text: string, name: string): Restored[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ImportError(`${name} is damaged or not JSON: ${error instanceof Error ? error.message : ""}`);
  }
  const top = object(value, name);
  if (top["format"] === undefined && Array.isArray(top["messages"])) return [chatOf(top, name)];
  if (top["format"] !== FORMAT) throw new ImportError(`${name} holds no conversations of this page`);
  if (top["version"] !== VERSION)
    throw new ImportError(
      `${name} has version ${String(top["version"])}; this page reads version ${VERSION}`,
    );
  return list(top["chats"], "chats").map((one, index) => chatOf(one, `chats[${index}]`));
}

type Values = Record<string, unknown>;

function object(value: unknown, where: string): Values {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ImportError(`${where} is not an object`);
  return value as Values;
}

function list(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw new ImportError(`${where} is not a list`);
  return value;
}

function string(value: unknown, where: string): string {
  if (typeof value !== "string") throw new ImportError(`${where} is not a text`);
  return value;
}

function number(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new ImportError(`${where} is not a number`);
  return value;
}

function chatOf(value: unknown, where: string): Restored {
  const one = object(value, where);
  const id = string(one["id"], `${where}.id`);
  if (!id) throw new ImportError(`${where}.id is empty`);
  const shown: Record<string, string> = {};
  for (const [parent, child] of Object.entries(object(one["shown"] ?? {}, `${where}.shown`)))
    shown[parent] = string(child, `${where}.shown`);
  const messages = list(one["messages"], `${where}.messages`).map((message, index) =>
    messageOf(message, id, `${where}.messages[${index}]`),
  );
  const record: ChatRecord = {
    id,
    title: string(one["title"], `${where}.title`),
    named: one["named"] === true,
    created: number(one["created"], `${where}.created`),
    updated: number(one["updated"], `${where}.updated`),
    shown,
    ...(one["pinned"] === undefined ? {} : { pinned: number(one["pinned"], `${where}.pinned`) }),
    ...(one["how"] === undefined
      ? {}
      : {
          how: readOwn(object(one["how"], `${where}.how`), (key) => {
            throw new ImportError(`${where}.how.${key} is no setting, or out of range`);
          }),
        }),
  };
  return { record, messages };
}

function messageOf(value: unknown, chat: string, where: string): ChatMessage {
  const one = object(value, where);
  const node = {
    id: string(one["id"], `${where}.id`),
    chat,
    parent: one["parent"] === null ? null : string(one["parent"], `${where}.parent`),
    created: number(one["created"], `${where}.created`),
    text: string(one["text"], `${where}.text`),
  };
  if (!node.id) throw new ImportError(`${where}.id is empty`);
  if (one["role"] === "user") {
    const question: Question = { ...node, role: "user" };
    if (one["attachments"] !== undefined)
      question.attachments = list(one["attachments"], `${where}.attachments`).map((item, index) => {
        const file = object(item, `${where}.attachments[${index}]`);
        const name = string(file["name"], `${where}.attachments[${index}].name`);
        return { name, text: string(file["text"], `${where}.attachments[${index}].text`) };
      });
    if (one["given"] !== undefined) question.given = string(one["given"], `${where}.given`);
    if (one["partly"] === true) question.partly = true;
    if (one["sources"] !== undefined)
      question.sources = list(one["sources"], `${where}.sources`).map((item, index) => {
        const source = object(item, `${where}.sources[${index}]`);
        return {
          name: string(source["name"], `${where}.sources[${index}].name`),
          from: number(source["from"], `${where}.sources[${index}].from`),
          to: number(source["to"], `${where}.sources[${index}].to`),
        };
      });
    return question;
  }
  if (one["role"] !== "assistant") throw new ImportError(`${where}.role is neither user nor assistant`);
  const reply: Reply = {
    ...node,
    role: "assistant",
    model: string(one["model"], `${where}.model`),
    tokens: list(one["tokens"] ?? [], `${where}.tokens`).map((token, index) =>
      tokenOf(token, `${where}.tokens[${index}]`),
    ),
  };
  if (one["ids"] !== undefined)
    reply.ids = list(one["ids"], `${where}.ids`).map((id) => number(id, `${where}.ids`));
  if (one["unfinished"] === true) reply.unfinished = true;
  if (one["edited"] === true) reply.edited = true;
  if (one["gap"] === true) reply.gap = true;
  if (one["thinking"] !== undefined) {
    const thinking = object(one["thinking"], `${where}.thinking`);
    reply.thinking = {
      tokens: number(thinking["tokens"], `${where}.thinking.tokens`),
      ms: number(thinking["ms"], `${where}.thinking.ms`),
    };
  }
  if (one["figures"] !== undefined) reply.figures = figuresOf(one["figures"], `${where}.figures`);
  if (one["trouble"] !== undefined) {
    const trouble = object(one["trouble"], `${where}.trouble`);
    const code = string(trouble["code"], `${where}.trouble.code`);
    reply.trouble = { code, message: string(trouble["message"], `${where}.trouble.message`) };
  }
  return reply;
}

function candidateOf(value: unknown, where: string): Candidate {
  const one = object(value, where);
  const id = one["id"];
  return {
    text: string(one["text"], `${where}.text`),
    // JSON has no -Infinity: what can never come is written as null.
    logprob: one["logprob"] === null ? -Infinity : number(one["logprob"], `${where}.logprob`),
    ...(typeof id === "number" ? { id } : {}),
  };
}

function tokenOf(value: unknown, where: string): ReplyToken {
  const one = object(value, where);
  const { text, logprob } = candidateOf(value, where);
  const top = list(one["top"], `${where}.top`).map((other) => candidateOf(other, `${where}.top`));
  return { text, logprob, top };
}

function figuresOf(value: unknown, where: string): ReplyFigures {
  const one = object(value, where);
  const get = (name: keyof ReplyFigures) => number(one[name], `${where}.${name}`);
  return {
    promptTokens: get("promptTokens"),
    cachedTokens: get("cachedTokens"),
    tokens: get("tokens"),
    prefillTokensPerSecond: get("prefillTokensPerSecond"),
    decodeTokensPerSecond: get("decodeTokensPerSecond"),
    finish: string(one["finish"], `${where}.finish`),
    ...(one["droppedMessages"] === undefined ? {} : { droppedMessages: get("droppedMessages") }),
  };
}

/** Whether a file looks like one that `importAll` is for, so that a dropped one finds its way. */
export async function isBackup(file: File): Promise<boolean> {
  if (!/\.json$/i.test(file.name)) return false;
  const start = await file.slice(0, 200).text();
  return start.includes(`"${FORMAT}"`) || /^\s*\{\s*"id"\s*:\s*"[^"]*",\s*"title"/.test(start);
}
