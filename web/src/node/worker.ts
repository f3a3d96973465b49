/** `worker_threads` behind the face of a browser's `Worker`. */
import { Worker as Thread } from "node:worker_threads";

/** A module worker: `url` runs in a thread whose global scope looks like a browser's. */
export class ThreadWorker extends EventTarget implements Worker {
  onmessage: Worker["onmessage"] = null;
  onmessageerror: Worker["onmessageerror"] = null;
  onerror: Worker["onerror"] = null;
  readonly #thread: Thread;

  constructor(url: string | URL) {
    super();
    this.#thread = new Thread(new URL("./scope.js", import.meta.url), {
      workerData: { ternlight: String(url) },
    });
    this.#thread.on("message", (data) => this.#tell(new MessageEvent("message", { data })));
    this.#thread.on("messageerror", () => this.#tell(new MessageEvent("messageerror")));
    this.#thread.on("error", (error) => this.#fail(error.message));
    this.#thread.on("exit", (code) => {
      if (code !== 0) this.#fail(`the thread ended with ${code}`);
    });
  }

  postMessage(message: unknown): void {
    this.#thread.postMessage(message);
  }

  terminate(): void {
    this.#thread.removeAllListeners();
    void this.#thread.terminate();
  }

  #fail(message: string): void {
    this.#tell(Object.assign(new Event("error", { cancelable: true }), { message }));
  }

  #tell(event: Event): void {
    this.dispatchEvent(event);
  }
}
