/** Tells the other tabs of this page which conversation changed; they read it again, the database being the one truth. */

const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("ternlight-chats") : null;

export function tellTabs(chat: string): void {
  channel?.postMessage(chat);
}

export function hearTabs(changed: (chat: string) => void): void {
  channel?.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    if (typeof data === "string") changed(data);
  });
}

const lockName = (message: string) => `ternlight-reply-${message}`;

/** Insecure pages have no locks, whatever the type says. */
const locks = (): LockManager | undefined => navigator.locks as LockManager | undefined;

/** Holds, until `done` settles, the lock that shows other tabs that a reply is being written. */
export function holdReply(message: string, done: Promise<unknown>): void {
  void locks()?.request(lockName(message), () => done);
}

/** Calls `ended` once no tab writes the reply any more, or `alive(true)` first while one does. */
export async function watchReply(
  message: string,
  alive: (yes: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const manager = locks();
  if (!manager) return alive(false);
  const { held = [] } = await manager.query();
  const name = lockName(message);
  alive(held.some((one) => one.name === name));
  await manager
    .request(name, { mode: "shared", signal }, () => {
      if (!signal.aborted) alive(false);
    })
    .catch(() => {});
}
