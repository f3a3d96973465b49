import { Engine } from "ternlight";

const engine = await Engine.load("/tern/");
const messages = [{ role: "user", content: "Hello, who are you?" }];
const answer = await engine.chat(messages, { temperature: 0, maxTokens: 24 }).text();
await engine.close();
globalThis.answer = answer;
