/**
 * The part of a browser's private file system that the cache uses, over a folder of the real one:
 * `$TERNLIGHT_CACHE/web`, else where the system keeps caches.
 *
 * Invariant: a text file is replaced in one step, so that a crash leaves the old content or the new.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openAsBlob,
  openSync,
  readSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** What `navigator.storage` offers here. */
export function storage(): Pick<StorageManager, "getDirectory" | "estimate" | "persist"> {
  return {
    getDirectory: async () => new Folder(root()) as unknown as FileSystemDirectoryHandle,
    persist: async () => true,
    async estimate() {
      mkdirSync(root(), { recursive: true });
      const { bavail, bsize } = statfsSync(root());
      return { usage: 0, quota: bavail * bsize };
    },
  };
}

function root(): string {
  const { TERNLIGHT_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  return join(
    TERNLIGHT_CACHE ?? XDG_CACHE_HOME ?? LOCALAPPDATA ?? join(homedir(), ".cache"),
    "ternlight-web",
  );
}

class NotFound extends Error {
  override readonly name = "NotFoundError";
}

/** A `FileSystemDirectoryHandle`. */
class Folder {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async getDirectoryHandle(name: string): Promise<Folder> {
    const path = join(this.#path, name);
    await mkdir(path, { recursive: true });
    return new Folder(path);
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<File> {
    const path = join(this.#path, name);
    if (!existsSync(path)) {
      if (!create) throw new NotFound(path);
      closeSync(openSync(path, "a"));
    }
    return new File(path);
  }

  async removeEntry(name: string): Promise<void> {
    await rm(join(this.#path, name), { force: true, recursive: true });
  }

  async *keys(): AsyncGenerator<string, void> {
    yield* await readdir(this.#path);
  }
}

/** A `FileSystemFileHandle`. */
class File {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  getFile(): Promise<Blob> {
    return openAsBlob(this.#path);
  }

  async createWritable(): Promise<{ write(text: string): Promise<void>; close(): Promise<void> }> {
    const temporary = `${this.#path}.${process.pid}.tmp`;
    return {
      write: (text) => writeFile(temporary, text),
      close: () => rename(temporary, this.#path),
    };
  }

  async createSyncAccessHandle({ mode }: { mode: "read-only" | "readwrite" }): Promise<AccessHandle> {
    return new AccessHandle(openSync(this.#path, mode === "read-only" ? "r" : "r+"));
  }
}

/** A `FileSystemSyncAccessHandle`. */
class AccessHandle {
  #file: number | null;

  constructor(file: number) {
    this.#file = file;
  }

  read(into: Uint8Array, { at }: { at: number }): number {
    let done = 0;
    while (done < into.length) {
      const count = readSync(this.#open(), into, done, into.length - done, at + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(bytes: Uint8Array, { at }: { at: number }): number {
    return writeSync(this.#open(), bytes, 0, bytes.length, at);
  }

  truncate(length: number): void {
    ftruncateSync(this.#open(), length);
  }

  getSize(): number {
    return fstatSync(this.#open()).size;
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #open(): number {
    if (this.#file === null) throw new Error("the file is closed");
    return this.#file;
  }
}
