/** The models that this browser keeps, file by file in the package's cache, shown as a person thinks of them. */

import { signal } from "@preact/signals";
import { cache } from "ternlight";

/** A model in this browser: one file, or the files of one folder. */
export interface CachedModel {
  address: string;
  urls: string[];
  bytes: number;
  total: number | null;
  complete: boolean;
}

/** Null where the browser keeps none. */
export const cachedModels = signal<CachedModel[] | null>([]);
/** Bytes that the browser would give this page, where it says. */
export const room = signal<number | null>(null);

export async function refreshCachedModels(): Promise<void> {
  // Insecure pages have no `storage`, whatever its type says.
  const storage = navigator.storage as StorageManager | undefined;
  if (!storage?.getDirectory) {
    cachedModels.value = null;
    return;
  }
  const byAddress = new Map<string, CachedModel>();
  for (const { url, bytes, total, complete } of await cache.list()) {
    const address = /\.gguf$/i.test(new URL(url).pathname) ? url : new URL(".", url).href;
    const before = byAddress.get(address) ?? { address, urls: [], bytes: 0, total: 0, complete: true };
    byAddress.set(address, {
      address,
      urls: [...before.urls, url],
      bytes: before.bytes + bytes,
      total: before.total === null || total === null ? null : before.total + total,
      complete: before.complete && complete,
    });
  }
  cachedModels.value = [...byAddress.values()];
  room.value = (await cache.estimate())?.quota ?? null;
}

export async function forget({ urls }: CachedModel): Promise<void> {
  for (const url of urls) await cache.remove(url);
  await refreshCachedModels();
}
