/**
 * The model files kept in the origin's private file system, by address.
 *
 * Per address there may be one complete copy and one partial, each a JSON record that names a data file:
 * promoting a download is one atomic write of a record, so a good copy is only ever replaced by a better
 * one. Every block of data has its checksum in the record; whatever a crash leaves behind the last
 * recorded block is ignored.
 */
import { EngineError, messageOf } from "./errors.js";

/** Bytes per checksummed block. */
export const BLOCK = 8 << 20;

/** What is known of a stored file. */
export interface CacheRecord {
  readonly version: 1;
  readonly url: string;
  /** Name of the data file. */
  readonly file: string;
  /** Bytes of the whole file, if known. */
  readonly total: number | null;
  /** Strong entity tag, and modification date, of the response it came from. */
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** SHA-256 of the whole file, once computed. */
  readonly sha256: string | null;
  /** XXH3-64 of each block; the last one may be shorter. */
  readonly blocks: readonly string[];
  /** Bytes that the blocks cover. */
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
}

/** A model file in the cache, as a page sees it. */
export interface CacheEntry {
  readonly url: string;
  /** Bytes stored. */
  readonly bytes: number;
  /** Bytes of the whole file, if known. */
  readonly total: number | null;
  /** False for an interrupted download, which the next load takes up. */
  readonly complete: boolean;
  readonly sha256: string | null;
  readonly savedAt: Date;
}

type Kind = "complete" | "partial" | "manifest";
const SUFFIX: Record<Kind, string> = {
  complete: ".json",
  partial: ".part.json",
  manifest: ".files.json",
};

/** The folder of cached models. */
export class Store {
  readonly #folder: FileSystemDirectoryHandle;

  private constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /**
   * Opens the store.
   *
   * @throws {EngineError} `no-storage` where the browser has no private file system.
   */
  static async open(): Promise<Store> {
    // Insecure pages have no `storage`, whatever its type says.
    const storage: StorageManager | undefined = navigator.storage;
    if (storage?.getDirectory === undefined) {
      throw new EngineError("no-storage", "this page has no private file system: nothing is cached");
    }
    try {
      const root = await storage.getDirectory();
      return new Store(await root.getDirectoryHandle("ternlight", { create: true }));
    } catch (thrown) {
      throw new EngineError("no-storage", `the private file system cannot be opened: ${messageOf(thrown)}`);
    }
  }

  /** The record of `url`'s complete copy or partial download. */
  async find(url: string, kind: "complete" | "partial"): Promise<CacheRecord | null> {
    const parsed = await this.#read(`${await keyOf(url)}${SUFFIX[kind]}`);
    return isRecord(parsed) && parsed.url === url ? parsed : null;
  }

  /** Writes the record of a partial download. */
  async savePartial(record: CacheRecord): Promise<void> {
    await this.#write(`${await keyOf(record.url)}${SUFFIX.partial}`, JSON.stringify(record));
  }

  /** Makes a finished download the complete copy; the old copy goes away afterwards. */
  async promote(record: CacheRecord): Promise<void> {
    const old = await this.find(record.url, "complete");
    const key = await keyOf(record.url);
    await this.#write(`${key}${SUFFIX.complete}`, JSON.stringify(record));
    await this.#delete(`${key}${SUFFIX.partial}`);
    if (old !== null && old.file !== record.file) await this.#delete(old.file);
  }

  /** Turns a damaged copy into a partial download of its first `bytes` good bytes. */
  async demote(record: CacheRecord, blocks: number): Promise<CacheRecord> {
    const old = await this.find(record.url, "partial");
    const key = await keyOf(record.url);
    const partial = {
      ...record,
      sha256: null,
      blocks: record.blocks.slice(0, blocks),
      bytes: blocks * BLOCK,
    };
    await this.#write(`${key}${SUFFIX.partial}`, JSON.stringify(partial));
    await this.#delete(`${key}${SUFFIX.complete}`);
    if (old !== null && old.file !== record.file) await this.#delete(old.file);
    return partial;
  }

  /** Forgets a partial download. */
  async dropPartial(url: string): Promise<void> {
    const record = await this.find(url, "partial");
    await this.#delete(`${await keyOf(url)}${SUFFIX.partial}`);
    if (record !== null) await this.#delete(record.file);
  }

  /** The data file of a record. */
  async data(file: string, create: boolean): Promise<FileSystemFileHandle | null> {
    try {
      return await this.#folder.getFileHandle(file, { create });
    } catch (thrown) {
      if (isNotFound(thrown)) return null;
      throw thrown;
    }
  }

  /** A stored answer to "which files does this reference have", for loads without a connection. */
  async manifest(reference: string): Promise<unknown> {
    return this.#read(`${await keyOf(reference)}${SUFFIX.manifest}`);
  }

  /** Stores such an answer. */
  async saveManifest(reference: string, manifest: unknown): Promise<void> {
    await this.#write(`${await keyOf(reference)}${SUFFIX.manifest}`, JSON.stringify(manifest));
  }

  /** Everything stored, complete or not. */
  async list(): Promise<CacheEntry[]> {
    const entries: CacheEntry[] = [];
    for await (const name of this.#folder.keys()) {
      if (!name.endsWith(SUFFIX.complete) || name.endsWith(SUFFIX.manifest)) continue;
      const record = await this.#read(name);
      if (!isRecord(record)) continue;
      const { url, bytes, total, sha256, savedAt } = record;
      const complete = !name.endsWith(SUFFIX.partial);
      entries.push({ url, bytes, total, complete, sha256, savedAt: new Date(savedAt) });
    }
    return entries.sort((a, b) => a.url.localeCompare(b.url));
  }

  /** Removes the copy and the partial download of `url`. */
  async remove(url: string): Promise<void> {
    await this.dropPartial(url);
    const record = await this.find(url, "complete");
    await this.#delete(`${await keyOf(url)}${SUFFIX.complete}`);
    if (record !== null) await this.#delete(record.file);
  }

  /** Removes everything. Files that another tab is writing stay. */
  async clear(): Promise<void> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    for (const name of names) await this.#delete(name);
  }

  /** Removes data files that no record names: left behind by tabs that died. */
  async sweep(): Promise<void> {
    const data = new Set<string>();
    const records: string[] = [];
    for await (const name of this.#folder.keys()) {
      if (name.endsWith(".bin")) data.add(name);
      else if (!name.endsWith(SUFFIX.manifest)) records.push(name);
    }
    for (const name of records) {
      const record = await this.#read(name);
      if (isRecord(record)) data.delete(record.file);
    }
    for (const name of data) await this.#delete(name);
  }

  async #read(name: string): Promise<unknown> {
    const handle = await this.data(name, false);
    if (handle === null) return null;
    try {
      const parsed: unknown = JSON.parse(await (await handle.getFile()).text());
      return parsed;
    } catch {
      return null; // Torn or foreign: as if it were not there.
    }
  }

  async #write(name: string, text: string): Promise<void> {
    const handle = await this.#folder.getFileHandle(name, { create: true });
    // Written beside the old content and swapped in on close: a crash leaves one or the other.
    const stream = await handle.createWritable();
    await stream.write(text);
    await stream.close();
  }

  async #delete(name: string): Promise<void> {
    try {
      await this.#folder.removeEntry(name);
    } catch (thrown) {
      // Locked by another tab: that tab, or the next sweep, removes it.
      if (!isNotFound(thrown) && !isLocked(thrown)) throw thrown;
    }
  }
}

/** File name for an address: its SHA-256, which any name can stand. */
async function keyOf(url: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function isRecord(value: unknown): value is CacheRecord {
  return (
    typeof value === "object" &&
    value !== null &&
    "version" in value &&
    value.version === 1 &&
    "blocks" in value &&
    Array.isArray(value.blocks)
  );
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : "";
}

function isNotFound(thrown: unknown): boolean {
  return nameOf(thrown) === "NotFoundError";
}

/** Another handle holds the file. */
export function isLocked(thrown: unknown): boolean {
  return nameOf(thrown) === "NoModificationAllowedError" || nameOf(thrown) === "InvalidStateError";
}

/** The browser grants no more bytes. */
export function isQuota(thrown: unknown): boolean {
  return nameOf(thrown) === "QuotaExceededError";
}
