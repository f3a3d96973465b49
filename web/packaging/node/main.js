import { Engine } from "ternlight";

const engine = await Engine.load(process.argv[2]);
const messages = [{ role: "user", content: "Hello, who are you?" }];
for await (const piece of engine.chat(messages, { temperature: 0, maxTokens: 24 })) {
  process.stdout.write(piece.text);
}
await engine.close();
