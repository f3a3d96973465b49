/** One tab at a time downloads a file. */
import { cancelled, EngineError } from "./errors.js";

/** Runs `work` while this tab alone holds `name`; `onWait` is called if it must wait for another. */
export async function locked(
  name: string,
  signal: AbortSignal,
  work: (waited: boolean) => Promise<void>,
  onWait: () => void,
): Promise<void> {
  let free = false;
  await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    free = lock !== null;
    if (free) await work(false);
  });
  if (free) return;
  onWait();
  try {
    await navigator.locks.request(name, { signal }, () => work(true));
  } catch (thrown) {
    if (signal.aborted && !(thrown instanceof EngineError)) throw cancelled(signal);
    throw thrown;
  }
}
