/**
 * ternlight in Node.js: the same package, with worker threads for workers, the file system for the cache, and
 * paths of files and folders as model sources.
 */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { EngineError, messageOf } from "../errors.js";
import { platform } from "../platform.js";
import type { FileSource } from "../protocol.js";
import { FOLDER_FILES, siblings } from "../source.js";
import { storage } from "./storage.js";
import { ThreadWorker } from "./worker.js";

export * from "../index.js";

platform.base = () => pathToFileURL(`${process.cwd()}/`).href;
platform.createWorker = () => new ThreadWorker(new URL("../worker.js", import.meta.url));
platform.files = filesOf;
// The cache is used on this side too: to list and remove. Node.js itself has no `navigator.storage`.
Object.defineProperty(globalThis.navigator ?? defineNavigator(), "storage", { value: storage() });

function defineNavigator(): Navigator {
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true, writable: true });
  return globalThis.navigator;
}

/** The files of a model at a path (or a `file:` URL): a file, all parts of a split one, or a folder. */
async function filesOf(path: string): Promise<FileSource[] | null> {
  if (/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(path)) return null;
  const place = path.startsWith("file:") ? fileURLToPath(path) : resolve(path);
  try {
    const info = await stat(place);
    const paths = info.isDirectory() ? await inFolder(place) : await withSiblings(place);
    return paths.map((path) => ({ name: basename(path), url: pathToFileURL(path) }));
  } catch (thrown) {
    if (thrown instanceof EngineError) throw thrown;
    throw new EngineError("source", `${path} cannot be read: ${messageOf(thrown)}`);
  }
}

async function inFolder(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  const weights = names.filter((name) => name.endsWith(".safetensors")).sort();
  if (weights.length === 0) {
    throw new EngineError("bad-source", `${folder}: the folder holds no *.safetensors file`);
  }
  // Some repositories hold the same weights whole and in shards: then the whole file is enough.
  const chosen = weights.includes("model.safetensors") ? ["model.safetensors"] : weights;
  return [...FOLDER_FILES.filter((name) => names.includes(name)), ...chosen].map((name) =>
    join(folder, name),
  );
}

async function withSiblings(path: string): Promise<string[]> {
  const folder = dirname(path);
  const parts = siblings(basename(path)).map((name) => join(folder, name));
  if (extname(path) !== ".safetensors") return parts;
  // A lone safetensors file has its texts beside it.
  const names = await readdir(folder);
  return [...FOLDER_FILES.filter((name) => names.includes(name)).map((name) => join(folder, name)), ...parts];
}
