/**
 * From what a user calls a model to the list of its files.
 *
 * Small files that say how to read the weights come first, so that weights can be packed as they arrive.
 * Answers of the network are stored, so that a complete copy loads without a connection.
 */
import type { Store } from "./cache.js";
import { fetchText, head } from "./download.js";
import { EngineError, messageOf } from "./errors.js";
import type { PlainFile, PlainSource, TransferOptions } from "./protocol.js";

/** One file of a model, ready to be read. */
export interface ModelFile {
  readonly name: string;
  readonly url: string | null;
  readonly blob: Blob | null;
  /** Expected SHA-256, in hex. */
  readonly sha256: string | null;
  /** Expected length. */
  readonly bytes: number | null;
}

/** What of a Hugging Face folder is of use, beside the weights. */
export const FOLDER_FILES: readonly string[] = [
  "config.json",
  "generation_config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "chat_template.jinja",
];
const SHARD_INDEX = "model.safetensors.index.json";
const SPLIT = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

interface Environment {
  readonly store: Store | null;
  readonly transfer: TransferOptions;
  readonly signal: AbortSignal;
}

/** Lists the files of a model. */
export async function resolve(source: PlainSource, env: Environment): Promise<ModelFile[]> {
  const parts =
    source.kind === "files" ? source.files.map(fileToPart) : await fromReference(source.reference, env);
  if (parts.length === 0) throw new EngineError("bad-source", "the source has no files");
  const { sha256 } = env.transfer;
  const [only] = parts;
  if (sha256 === null || only === undefined) return ordered(parts);
  if (parts.length > 1) {
    throw new EngineError("bad-source", `one SHA-256 for ${parts.length} files: give each file its own`);
  }
  return [{ ...only, sha256 }];
}

function fileToPart({ name, url, blob, sha256 }: PlainFile): ModelFile {
  const named = name ?? (url === null ? "model.gguf" : baseName(new URL(url).pathname));
  return { name: named, url: blob === null ? url : null, blob, sha256, bytes: blob?.size ?? null };
}

async function fromReference(reference: string, env: Environment): Promise<ModelFile[]> {
  const stored = env.transfer.cache === "default" ? await storedParts(reference, env.store) : null;
  if (stored?.complete) return stored.parts;
  try {
    const parts = reference.startsWith("hf:") ? await fromHub(reference, env) : await fromUrl(reference, env);
    await env.store?.saveManifest(reference, parts).catch(() => {}); // Only a convenience for later.
    return parts;
  } catch (thrown) {
    const offline = thrown instanceof EngineError && thrown.code === "network";
    if (!offline || env.transfer.cache === "reload") throw thrown;
    const known = stored ?? (await storedParts(reference, env.store));
    if (known === null) throw thrown;
    return known.parts;
  }
}

/** An earlier answer for `reference`, and whether all of its files are in the store. */
async function storedParts(
  reference: string,
  store: Store | null,
): Promise<{ parts: ModelFile[]; complete: boolean } | null> {
  if (store === null) return null;
  try {
    const parts = parseManifest(await store.manifest(reference));
    if (parts === null) return null;
    let complete = true;
    for (const { url } of parts) {
      complete &&= url !== null && (await store.find(url, "complete")) !== null;
    }
    return { parts, complete };
  } catch {
    return null;
  }
}

function parseManifest(stored: unknown): ModelFile[] | null {
  if (!Array.isArray(stored)) return null;
  const items: readonly unknown[] = stored;
  const parts: ModelFile[] = [];
  for (const item of items) {
    const url = field(item, "url");
    const name = field(item, "name");
    const sha256 = field(item, "sha256");
    const bytes = field(item, "bytes");
    if (typeof url !== "string" || typeof name !== "string") return null;
    parts.push({
      name,
      url,
      blob: null,
      sha256: typeof sha256 === "string" ? sha256 : null,
      bytes: typeof bytes === "number" ? bytes : null,
    });
  }
  return parts.length > 0 ? parts : null;
}

/** A URL of one GGUF or safetensors file, of a part of a split one, or of a folder (ending in `/`). */
async function fromUrl(url: string, env: Environment): Promise<ModelFile[]> {
  const { pathname } = new URL(url);
  if (!pathname.endsWith("/")) {
    const self = baseName(pathname);
    return siblings(self).map((name) => (name === self ? { ...at(url, name), url } : at(url, name)));
  }
  const options = { ...env.transfer, signal: env.signal };
  const parts: ModelFile[] = [];
  for (const name of FOLDER_FILES) {
    const part = at(url, name);
    if ((await head(urlOf(part), options)) !== null) parts.push(part);
  }
  const index = await fetchText(urlOf(at(url, SHARD_INDEX)), options);
  // The engine reads the index too: what one shard holds may change what another means.
  const weights = index === null ? ["model.safetensors"] : [SHARD_INDEX, ...shards(index)];
  return [...parts, ...weights.map((name) => at(url, name))];
}

/** `hf:owner/repo[@revision][/path]`. */
async function fromHub(reference: string, env: Environment): Promise<ModelFile[]> {
  const match = /^hf:([^/@]+)\/([^/@]+)(?:@([^/]+))?(?:\/(.+))?$/.exec(reference);
  const [, owner, repo, revision = "main", path = ""] = match ?? [];
  if (owner === undefined || repo === undefined) {
    throw new EngineError("bad-source", `${reference}: expected hf:owner/repo or hf:owner/repo/file.gguf`);
  }
  const { hub } = env.transfer;
  const options = { ...env.transfer, signal: env.signal };
  const isFile = /\.(gguf|safetensors)$/.test(path);
  const folder = isFile ? path.slice(0, -baseName(path).length).replace(/\/$/, "") : path.replace(/\/$/, "");
  const inFolder = folder === "" ? "" : `/${encodePath(folder)}`;
  const listing = await fetchText(`${hub}/api/models/${owner}/${repo}/tree/${revision}${inFolder}`, options);
  if (listing === null)
    throw new EngineError("http", `${reference}: there is no such repository or folder`, 404);

  const files = parseListing(listing).map(({ name, bytes, sha256 }): ModelFile => {
    const url = `${hub}/${owner}/${repo}/resolve/${revision}${inFolder}/${encodeURIComponent(name)}`;
    return { name, url, blob: null, sha256, bytes };
  });
  const pick = (name: string): ModelFile => {
    const file = files.find((candidate) => candidate.name === name);
    if (file === undefined) throw new EngineError("http", `${reference}: ${name} is not there`, 404);
    return file;
  };
  if (isFile) return siblings(baseName(path)).map(pick);

  const names = files.map(({ name }) => name);
  const weights = names.filter((name) => name.endsWith(".safetensors"));
  if (names.includes("config.json") && weights.length > 0) {
    const index = names.includes(SHARD_INDEX) ? await fetchText(urlOf(pick(SHARD_INDEX)), options) : null;
    const chosen =
      index !== null
        ? [SHARD_INDEX, ...shards(index)]
        : weights.includes("model.safetensors")
          ? ["model.safetensors"]
          : weights;
    return [...names.filter((name) => FOLDER_FILES.includes(name)), ...chosen].map(pick);
  }
  const models = new Set(
    names.filter((name) => name.endsWith(".gguf")).map((name) => siblings(name)[0] ?? name),
  );
  const [model] = models;
  if (model === undefined)
    throw new EngineError("bad-source", `${reference}: no GGUF or safetensors weights there`);
  if (models.size > 1) {
    throw new EngineError("bad-source", `${reference}: choose one of ${[...models].join(", ")}`);
  }
  return siblings(model).map(pick);
}

function parseListing(listing: string): { name: string; bytes: number | null; sha256: string | null }[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(listing);
  } catch (thrown) {
    throw new EngineError("bad-source", `the hub's listing is not JSON: ${messageOf(thrown)}`);
  }
  const items: readonly unknown[] = Array.isArray(parsed) ? parsed : [];
  return items.flatMap((item) => {
    const path = field(item, "path");
    if (field(item, "type") !== "file" || typeof path !== "string") return [];
    const size = field(item, "size");
    const hash = field(field(item, "lfs"), "oid");
    return {
      name: baseName(path),
      bytes: typeof size === "number" ? size : null,
      sha256: typeof hash === "string" ? hash : null,
    };
  });
}

/** The weight files that a shard index names. */
function shards(index: string): string[] {
  let map: unknown;
  try {
    map = field(JSON.parse(index), "weight_map");
  } catch (thrown) {
    throw new EngineError("bad-source", `${SHARD_INDEX} is not JSON: ${messageOf(thrown)}`);
  }
  const names = typeof map === "object" && map !== null ? Object.values(map) : [];
  const unique = new Set(names.filter((name) => typeof name === "string"));
  for (const name of unique) {
    if (name.includes("/")) throw new EngineError("bad-source", `${SHARD_INDEX} names ${name}`);
  }
  if (unique.size === 0) throw new EngineError("bad-source", `${SHARD_INDEX} names no files`);
  return [...unique].sort();
}

/** The names of all parts of a split GGUF file; of any other file, itself. */
export function siblings(name: string): string[] {
  const [, stem, , count] = SPLIT.exec(name) ?? [];
  if (stem === undefined || count === undefined) return [name];
  const parts = Number(count);
  if (parts < 1 || parts > 999) throw new EngineError("bad-source", `${name}: ${parts} parts`);
  return Array.from(
    { length: parts },
    (_, i) => `${stem}-${String(i + 1).padStart(5, "0")}-of-${count}.gguf`,
  );
}

/** Configuration before weights, weights by name. */
function ordered(parts: readonly ModelFile[]): ModelFile[] {
  const rank = ({ name }: ModelFile): number => (/\.(gguf|safetensors)$/.test(name) ? 1 : 0);
  return [...parts].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** The file `name` beside `url`, with its query. */
function at(url: string, name: string): ModelFile {
  const target = new URL(encodeURIComponent(name), url);
  target.search = new URL(url).search;
  return { name, url: target.href, blob: null, sha256: null, bytes: null };
}

function urlOf({ url, name }: ModelFile): string {
  if (url === null) throw new EngineError("bad-source", `${name} has no URL`);
  return url;
}

function baseName(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}
