/**
 * A load without an engine: the real transfer, cache and wasm memory, with a loader that only counts and
 * hashes what it is given. The tests ask whether exactly the bytes of the file arrived.
 */
import init, * as glue from "../../generated/simd128/ternlight.js";
import { type ChunkLoader, WasmBlockLoader } from "../../src/blocks.js";
import { Store } from "../../src/cache.js";
import { Crash, EngineError, messageOf } from "../../src/errors.js";
import { resolve } from "../../src/source.js";
import { transfer as stream } from "../../src/transfer.js";
import type { BytesReport, BytesRequest } from "./bytes_protocol.js";

let alive = 0;

class ByteLoader implements ChunkLoader {
  readonly files: [string, string][] = [];
  readonly lengths: (number | null)[] = [];
  readonly #refuseAfter: number;
  #name = "";
  #count = 0;
  #digest: glue.Digest | null = null;

  constructor(refuseAfter: number) {
    this.#refuseAfter = refuseAfter;
    alive++;
  }
  beginFile(name: string, length: number | undefined): void {
    this.#name = name;
    this.#count = 0;
    this.lengths.push(length ?? null);
    this.#digest = new glue.Digest();
  }
  push(chunk: glue.Chunk, from: number, to: number): void {
    this.#digest?.update(chunk, from, to);
    this.#count += to - from;
    if (this.#count > this.#refuseAfter) throw new EngineError("bad-magic", `${this.#name} is no model`);
  }
  endFile(): void {
    const length = this.lengths.at(-1) ?? null;
    if (length !== null && length !== this.#count) throw new EngineError("truncated", this.#name);
    this.files.push([this.#name, this.#digest?.hex() ?? ""]);
    this.#digest?.free();
  }
  free(): void {
    alive--;
  }
}

const ready = init();
const controllers = new Set<AbortController>();

self.addEventListener("message", (message: MessageEvent<BytesRequest | "abort">) => {
  if (message.data === "abort") for (const controller of controllers) controller.abort();
  else void run(message.data);
});

async function run({
  source,
  transfer,
  refuseAfter = Number.POSITIVE_INFINITY,
}: BytesRequest): Promise<void> {
  const { memory } = await ready;
  const report: BytesReport = {
    error: null,
    files: [],
    lengths: [],
    warnings: [],
    phases: [],
    retries: 0,
    restarts: 0,
    alive: 0,
  };
  const controller = new AbortController();
  controllers.add(controller);
  let bytes = 0;
  try {
    const store =
      transfer.cache === "none"
        ? null
        : await Store.open().catch((error: unknown) => {
            if (!(error instanceof EngineError)) throw error;
            report.warnings.push(error.code);
            return null;
          });
    const signal = controller.signal;
    const parts = await resolve(source, { store, transfer, signal });
    const sink = await stream(
      parts,
      () => new WasmBlockLoader({ glue, memory }, () => new ByteLoader(refuseAfter)),
      {
        store,
        transfer,
        signal,
        onPhase: (phase, part) => {
          report.phases.push(`${phase} ${part.name}`);
          postMessage({ phase });
        },
        onTotal: () => {},
        onBytes: (count) => {
          bytes += count;
          postMessage({ bytes });
        },
        onRestart: () => {
          report.restarts++;
          bytes = 0;
        },
        onRetry: () => {
          report.retries++;
        },
        onWarning: (warning) => report.warnings.push(warning.code),
      },
    );
    report.files = sink.loader.files;
    report.lengths = sink.loader.lengths;
    sink.free();
  } catch (thrown) {
    if (thrown instanceof EngineError) report.error = thrown.toJSON();
    else {
      report.error = {
        code: thrown instanceof Crash ? "crash" : "bug",
        message: `${messageOf(thrown)} ${thrown instanceof Error ? (thrown.stack ?? "") : ""}`,
        status: null,
      };
    }
  }
  controllers.delete(controller);
  report.alive = alive;
  postMessage({ report });
}
