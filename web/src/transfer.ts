/**
 * Model bytes: from the network, a file or the cache, through one block of WebAssembly memory, into the
 * engine's loader and into the cache.
 *
 * A download is stored as it arrives, a block at a time, each with its checksum; what was stored is what the
 * next attempt begins with. Before a block of a stored file goes to the loader its checksum is compared, so
 * a damaged copy is noticed in time and only the rest is fetched again. Trouble with storage never fails a
 * load: it is reported, and the load goes on without.
 *
 * Invariants: no more than one block of a file is held here, and a complete copy is replaced only by a
 * download that was complete, verified, and accepted by the loader.
 */
import type { BlockLoader } from "./blocks.js";
import { BLOCK, type CacheRecord, isQuota, type Store } from "./cache.js";
import { chunks, download, head, Restart, sameVersion, UNKNOWN, type Version } from "./download.js";
import { Crash, cancelled, EngineError, messageOf } from "./errors.js";
import { yieldToEvents } from "./events.js";
import { locked } from "./locks.js";
import type { TransferOptions } from "./protocol.js";
import type { ModelFile } from "./source.js";
import { StoredFile } from "./storedFile.js";

/** What a load works with. */
export interface Environment {
  readonly store: Store | null;
  readonly transfer: TransferOptions;
  readonly signal: AbortSignal;
  onPhase(phase: "wait" | "cache" | "download" | "file", file: ModelFile): void;
  /** `total` of this file, once known. */
  onTotal(file: ModelFile, total: number | null): void;
  /** `count` more bytes were taken in. */
  onBytes(count: number): void;
  /** Everything begins again. */
  onRestart(): void;
  onRetry(): void;
  onWarning(warning: EngineError): void;
}

const MOST_RESTARTS = 3;
const RECORD_INTERVAL_MS = 1000;

/**
 * Streams all files into a loader.
 *
 * @throws {EngineError} with a code; the loader is freed then.
 */
export async function transfer<L extends BlockLoader>(
  files: readonly ModelFile[],
  makeLoader: () => L,
  environment: Environment,
): Promise<L> {
  for (let restarts = 0; ; restarts++) {
    const loader = makeLoader();
    try {
      for (const file of files) await new FileTransfer(file, loader, environment).run();
      return loader;
    } catch (thrown) {
      // A trapped instance must not be called again, not even to free.
      if (!(thrown instanceof Crash)) loader.free();
      if (!(thrown instanceof Restart)) throw thrown;
      if (restarts === MOST_RESTARTS)
        throw new EngineError("source-changed", `${thrown.message}, again and again`);
      environment.onRestart();
    }
  }
}

/** One file on its way. */
class FileTransfer {
  readonly #source: ModelFile;
  readonly #loader: BlockLoader;
  readonly #env: Environment;
  /** Bytes of the file taken in. */
  #position = 0;
  /** Checksums of the whole blocks taken in. */
  #blocks: string[] = [];
  #version: Version = UNKNOWN;
  #begun = false;
  #hashing = false;
  #file: StoredFile | null = null;
  /** When the record was last written. */
  #recordedAt = 0;
  /** Storing was given up: what there is of it is to be removed. */
  #abandoned = false;
  /** A damaged copy made this download necessary. */
  #damaged = false;

  constructor(file: ModelFile, loader: BlockLoader, environment: Environment) {
    this.#source = file;
    this.#loader = loader;
    this.#env = environment;
  }

  async run(): Promise<void> {
    const { blob, url, name } = this.#source;
    if (blob !== null) await this.#fromBlob(blob);
    else if (url === null) throw new EngineError("bad-source", `${name} has neither a URL nor content`);
    else if (this.#env.store === null || this.#env.transfer.cache === "none")
      await this.#fromNetwork(url, null);
    else await this.#fromStoreOrNetwork(url, this.#env.store);
  }

  async #fromBlob(blob: Blob): Promise<void> {
    this.#env.onPhase("file", this.#source);
    this.#begin({ ...UNKNOWN, total: blob.size }, this.#source.sha256 !== null);
    try {
      for await (const bytes of chunks(blob.stream(), () => {})) {
        if (this.#env.signal.aborted) throw cancelled(this.#env.signal);
        this.#take(bytes);
        await yieldToEvents();
      }
    } catch (thrown) {
      // Files can go away or change under a page.
      if (thrown instanceof EngineError || thrown instanceof Crash) throw thrown;
      throw new EngineError("source", `${this.#source.name} cannot be read: ${messageOf(thrown)}`);
    }
    this.#finish();
  }

  async #fromStoreOrNetwork(url: string, store: Store): Promise<void> {
    if (await this.#fromCopy(url, store)) return;
    await locked(
      `ternlight:${url}`,
      this.#env.signal,
      async (waited) => {
        // Another tab may have finished this file meanwhile.
        if (waited && this.#position === 0 && (await this.#fromCopy(url, store))) return;
        await this.#fromNetwork(url, store);
      },
      () => this.#env.onPhase("wait", this.#source),
    );
  }

  /** Reads the complete copy, if it is there and usable. False: go on from `position` over the network. */
  async #fromCopy(url: string, store: Store): Promise<boolean> {
    const { cache, verify } = this.#env.transfer;
    const { sha256 } = this.#source;
    if (cache === "reload") return false;
    const record = await this.#guard(null, () => store.find(url, "complete"));
    if (record === null) return false;
    if (sha256 !== null && record.sha256 !== null && record.sha256 !== sha256) return false;
    if (cache === "revalidate" && !(await this.#isCurrent(url, record))) return false;

    this.#env.onPhase("cache", this.#source);
    const rehash = verify || (sha256 !== null && record.sha256 === null);
    const file = await this.#guard(undefined, () => StoredFile.open(store, record.file, "read"));
    if (file === undefined) {
      // Unreadable is not damaged: the copy stays, this load goes without.
      await this.#fromNetwork(url, null);
      return true;
    }
    let good = false;
    if (file !== null) {
      this.#begin(record, rehash);
      try {
        good = await this.#takeStored(file, record);
      } finally {
        file.close();
      }
    }
    if (good) {
      if (rehash && this.#loader.endHash() !== (sha256 ?? record.sha256)) {
        await store.remove(url);
        this.#warn("cache-corrupt", `the stored copy of ${this.#source.name} has another SHA-256`);
        throw new Restart("the stored copy was damaged");
      }
      this.#loader.end();
      return true;
    }
    this.#warn(
      "cache-corrupt",
      `the stored copy of ${this.#source.name} is damaged after ${this.#position} bytes`,
    );
    await this.#guard(null, () => store.demote(record, this.#blocks.length));
    return false;
  }

  /** Takes in the blocks of a stored file that are as recorded; false where one is not. */
  async #takeStored(file: StoredFile, record: CacheRecord): Promise<boolean> {
    for (const [index, checksum] of record.blocks.entries()) {
      if (index < this.#blocks.length) continue;
      const length = Math.min(BLOCK, record.bytes - index * BLOCK);
      const got = await file.read(this.#loader, index * BLOCK, length);
      if (got !== length || this.#loader.checksum(length) !== checksum) return false;
      this.#loader.push(0, length);
      this.#advance(length);
      if (length === BLOCK) this.#blocks.push(checksum);
      await yieldToEvents();
      if (this.#env.signal.aborted) throw cancelled(this.#env.signal);
    }
    return record.total === null || this.#position === record.total;
  }

  async #isCurrent(url: string, record: CacheRecord): Promise<boolean> {
    try {
      const now = await head(url, { ...this.#env.transfer, signal: this.#env.signal });
      return now === null || sameVersion(record, now) !== false;
    } catch (thrown) {
      if (thrown instanceof EngineError && thrown.code === "network") return true;
      throw thrown;
    }
  }

  async #fromNetwork(url: string, store: Store | null): Promise<void> {
    const { transfer, signal } = this.#env;
    let resumed = this.#position > 0;
    try {
      if (store !== null) resumed = await this.#resume(url, store);
      this.#env.onPhase("download", this.#source);
      await download({
        ...transfer,
        url,
        start: this.#position,
        version: this.#version,
        hashed: this.#source.sha256 !== null,
        signal,
        onOpen: (version) => this.#opened(url, version, store),
        onBytes: async (bytes) => {
          this.#take(bytes, (length) => this.#storeBlock(length));
          await this.#record(url, store, false);
        },
        onRetry: () => this.#env.onRetry(),
      });
      if (!this.#begun) this.#begin(this.#version, true);
      const sha256 = this.#verify(resumed);
      this.#loader.end();
      await this.#promote(url, store, sha256);
    } catch (thrown) {
      await this.#keepOrDrop(url, store, thrown);
      if (this.#damaged && thrown instanceof EngineError && thrown.code === "network") {
        throw new EngineError("cache-corrupt", `${thrown.message}; the stored copy is damaged`);
      }
      throw thrown;
    } finally {
      this.#file?.close();
      this.#file = null;
    }
  }

  /** Takes in what an interrupted download left; true if there was anything. */
  async #resume(url: string, store: Store): Promise<boolean> {
    const partial = await this.#guard(null, () => store.find(url, "partial"));
    if (partial === null || this.#env.transfer.cache === "reload") {
      if (partial !== null) await this.#guard(null, () => store.dropPartial(url));
      return this.#position > 0;
    }
    this.#file = await this.#guard(null, () => StoredFile.open(store, partial.file, "write"));
    if (this.#file === null) return this.#position > 0;
    if (this.#position === 0 && partial.blocks.length > 0) {
      this.#env.onPhase("cache", this.#source);
      this.#begin(partial, true);
    }
    const file = this.#file;
    if (this.#begun) await this.#guard(false, () => this.#takeStored(file, partial));
    this.#version = partial;
    return this.#position > 0;
  }

  async #opened(url: string, version: Version, store: Store | null): Promise<void> {
    const { bytes, name } = this.#source;
    if (bytes !== null && version.total !== null && version.total !== bytes) {
      throw new EngineError("truncated", `${name}: ${version.total} bytes on the server, ${bytes} expected`);
    }
    if (this.#begun && this.#version.total !== version.total)
      throw new Restart("the file has another length");
    this.#version = version;
    if (!this.#begun) this.#begin(version, true);
    if (store !== null && this.#file === null && this.#position === 0) {
      this.#file = await this.#guard(null, () => this.#createFile(url, store, version.total));
    }
  }

  async #createFile(url: string, store: Store, total: number | null): Promise<StoredFile | null> {
    const { quota, usage } = await navigator.storage.estimate();
    if (total !== null && quota !== undefined && usage !== undefined && usage + total > quota) {
      this.#warn(
        "quota",
        `${this.#source.name} needs ${total} bytes, ${Math.max(0, quota - usage)} are granted`,
      );
      return null;
    }
    await store.dropPartial(url);
    await store.sweep();
    const file = `${crypto.randomUUID()}.bin`;
    // The record goes first: a data file without one may be swept away by another tab.
    await store.savePartial(this.#recordOf(url, file));
    return StoredFile.open(store, file, "create");
  }

  #begin(version: Version, hash: boolean): void {
    this.#begun = true;
    this.#version = version;
    this.#env.onTotal(this.#source, version.total);
    this.#loader.begin(this.#source.name, version.total);
    this.#hashing = hash;
    if (hash) this.#loader.startHash();
  }

  /** Puts bytes into the block and hands them on; `onBlock` is called when it is full. */
  #take(bytes: Uint8Array, onBlock: (length: number) => void = () => {}): void {
    for (let from = 0; from < bytes.length; ) {
      const at = this.#position % BLOCK;
      const length = Math.min(BLOCK - at, bytes.length - from);
      this.#loader.space().set(bytes.subarray(from, from + length), at);
      this.#loader.push(at, at + length);
      this.#advance(length);
      if (at + length === BLOCK) onBlock(BLOCK);
      from += length;
    }
  }

  #advance(length: number): void {
    this.#position += length;
    this.#env.onBytes(length);
  }

  /** Writes the first `length` bytes of the block to its place in the stored file. */
  #storeBlock(length: number): void {
    if (this.#file === null) return;
    try {
      const at = this.#position - length;
      this.#file.write(this.#loader.space().subarray(0, length), at);
      this.#blocks.push(this.#loader.checksum(length));
    } catch (thrown) {
      this.#stopStoring(thrown);
    }
  }

  /** Writes down how far the stored file is good. */
  async #record(url: string, store: Store | null, now: boolean): Promise<void> {
    if (store !== null && this.#abandoned) {
      this.#abandoned = false;
      await this.#guard(null, () => store.dropPartial(url));
    }
    const file = this.#file;
    if (file === null || store === null) return;
    if (!now && performance.now() < this.#recordedAt + RECORD_INTERVAL_MS) return;
    // Not flushed to the disk first, which is slow: should the machine fail, checksums tell what is missing.
    await this.#guard(null, async () => {
      await store.savePartial(this.#recordOf(url, file.name));
      this.#recordedAt = performance.now();
    });
  }

  #recordOf(url: string, file: string, sha256: string | null = null): CacheRecord {
    const { total, etag, lastModified } = this.#version;
    const bytes = Math.min(this.#blocks.length * BLOCK, this.#position);
    const blocks = [...this.#blocks];
    return { version: 1, url, file, total, etag, lastModified, sha256, blocks, bytes, savedAt: Date.now() };
  }

  /** Compares the hash of a finished download; gives it. */
  #verify(resumed: boolean): string | null {
    if (!this.#hashing) return null;
    const sha256 = this.#loader.endHash();
    if (this.#source.sha256 === null || sha256 === this.#source.sha256) return sha256;
    // Two versions may have been put together; a single one is simply not what was asked for.
    if (resumed) throw new Restart("the parts of an interrupted download do not fit");
    throw new EngineError(
      "checksum",
      `${this.#source.name} has SHA-256 ${sha256}, not ${this.#source.sha256}`,
    );
  }

  #finish(): void {
    if (this.#source.sha256 !== null) this.#verify(false);
    this.#loader.end();
  }

  async #promote(url: string, store: Store | null, sha256: string | null): Promise<void> {
    const tail = this.#position % BLOCK;
    if (tail > 0) this.#storeBlock(tail);
    const file = this.#file;
    if (store === null || file === null) {
      await this.#record(url, store, true);
      return;
    }
    this.#version = { ...this.#version, total: this.#position };
    await this.#guard(null, async () => {
      file.truncate(this.#position);
      await store.promote(this.#recordOf(url, file.name, sha256));
    });
  }

  /** After a failure: an interrupted download is kept for the next attempt, a wrong one is not. */
  async #keepOrDrop(url: string, store: Store | null, thrown: unknown): Promise<void> {
    if (store === null || this.#file === null) return;
    const kept = thrown instanceof EngineError && ["network", "http", "cancelled"].includes(thrown.code);
    if (!kept) {
      this.#file.close();
      this.#file = null;
      await this.#guard(null, () => store.dropPartial(url));
      return;
    }
    const tail = this.#position % BLOCK;
    if (tail > 0 && this.#position > 0) this.#storeBlock(tail);
    await this.#record(url, store, true);
  }

  /** Runs something with storage; its failure ends storing, not the load. */
  async #guard<T>(otherwise: T, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof EngineError || thrown instanceof Crash) throw thrown;
      this.#stopStoring(thrown);
      return otherwise;
    }
  }

  #stopStoring(thrown: unknown): void {
    this.#file?.close();
    this.#file = null;
    this.#abandoned = true;
    const code = isQuota(thrown) ? "quota" : "storage";
    this.#warn(code, `${this.#source.name} is not cached: ${messageOf(thrown)}`);
  }

  #warn(code: "quota" | "storage" | "cache-corrupt", words: string): void {
    if (code === "cache-corrupt") this.#damaged = true;
    this.#env.onWarning(new EngineError(code, words));
  }
}
