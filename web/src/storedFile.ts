/** The data files of the cache, to be read and written a block at a time. */
import type { BlockLoader } from "./blocks.js";
import { isLocked, type Store } from "./cache.js";

/** A data file of the store: a synchronous handle where it can be had, else a snapshot to read. */
export class StoredFile {
  readonly name: string;
  readonly #handle: FileSystemSyncAccessHandle | null;
  readonly #snapshot: Blob | null;

  private constructor(name: string, handle: FileSystemSyncAccessHandle | null, snapshot: Blob | null) {
    this.name = name;
    this.#handle = handle;
    this.#snapshot = snapshot;
  }

  /** Opens a file; null if it is not there. To write to a file takes it from everybody else. */
  static async open(
    store: Store,
    name: string,
    mode: "read" | "write" | "create",
  ): Promise<StoredFile | null> {
    const entry = await store.data(name, mode === "create");
    if (entry === null) return null;
    const readOnly: SyncAccessOptions = { mode: mode === "read" ? "read-only" : "readwrite" };
    try {
      return new StoredFile(name, await entry.createSyncAccessHandle(readOnly), null);
    } catch (thrown) {
      if (mode !== "read" || !isLocked(thrown)) throw thrown;
      // A browser without shared handles, and another tab that reads the same copy.
      return new StoredFile(name, null, await entry.getFile());
    }
  }

  /** Reads into the beginning of the loader's space; gives the number of bytes there were. */
  async read(loader: BlockLoader, at: number, length: number): Promise<number> {
    if (this.#handle !== null) return this.#handle.read(loader.space().subarray(0, length), { at });
    const bytes = await this.#snapshot?.slice(at, at + length).arrayBuffer();
    if (bytes === undefined) return 0;
    loader.space().set(new Uint8Array(bytes));
    return bytes.byteLength;
  }

  /** Writes all of `bytes`, or throws `QuotaExceededError`. */
  write(bytes: Uint8Array<ArrayBuffer>, at: number): void {
    const written = this.#handle?.write(bytes, { at });
    if (written !== bytes.length)
      throw new DOMException("the file was not written whole", "QuotaExceededError");
  }

  truncate(length: number): void {
    this.#handle?.truncate(length);
  }

  close(): void {
    this.#handle?.close();
  }
}

/** Newer than some browsers, which ignore it, and than the type library. */
interface SyncAccessOptions {
  mode: "read-only" | "readwrite";
}
declare global {
  interface FileSystemFileHandle {
    createSyncAccessHandle(options: SyncAccessOptions): Promise<FileSystemSyncAccessHandle>;
  }
}
