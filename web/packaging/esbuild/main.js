import { Engine } from "ternlight";

const createWorker = () => new Worker("/ternlight/dist/worker.js", { type: "module" });
const engine = await Engine.load("/tern/", { createWorker });
const messages = [{ role: "user", content: "Hello, who are you?" }];
const answer = await engine.chat(messages, { temperature: 0, maxTokens: 24 }).text();
await engine.close();
globalThis.answer = answer;
