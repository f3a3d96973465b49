/** How fast this machine runs the loaded model, in this browser, now. */

import { signal } from "@preact/signals";
import type { Engine } from "ternlight";
import { NoModel } from "../model/About";
import { engine, type Failure, failureOf, model, whileUsed } from "../model/loading";
import { busy } from "../state/answer";
import { theme } from "../state/settings";
import { bytes, speed } from "../text/format";
import { announce } from "../ui/announce";
import { CopyButton } from "../ui/CopyButton";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Facts } from "../ui/Facts";
import { measure, type Bench as Result, stages } from "./measure";
import { Plot } from "./Plot";

const result = signal<Result | null>(null);
const running = signal<AbortController | null>(null);
const trouble = signal<Failure | null>(null);

/** What is measured, and where. */
function subjectOf({ info, flavour }: Engine): Result {
  return {
    model: model.value.name,
    flavour,
    kernels: info.kernels,
    threads: info.threads,
    cores: navigator.hardwareConcurrency,
    isolated: window.crossOriginIsolated,
    bytesPerToken: info.bytesPerToken,
    readings: [],
  };
}

async function run(): Promise<void> {
  const subject = engine.value;
  if (!subject || running.value || busy.value) return;
  const abort = new AbortController();
  running.value = abort;
  trouble.value = null;
  result.value = subjectOf(subject);
  let letGo = () => {};
  void whileUsed(subject, new Promise<void>((resolve) => (letGo = resolve)));
  try {
    for await (const reading of measure(subject, abort.signal)) {
      if (abort.signal.aborted) break;
      const now: Result = result.value;
      result.value = { ...now, readings: [...now.readings, reading] };
      announce(`${speed(reading.decodeTokensPerSecond)} tokens per second at ${reading.context} tokens`);
    }
  } catch (error) {
    const failure = failureOf(error);
    if (failure.code !== "cancelled") trouble.value = failure;
  }
  letGo();
  running.value = null;
}

function gigabytes(perSecond: number): string {
  return (perSecond / 1e9).toFixed(perSecond < 1e10 ? 2 : 1);
}

function Table({ bench }: { bench: Result }) {
  return (
    <section class="tablebox" tabIndex={0} aria-label="Readings">
      <table class="data figures">
        <thead>
          <tr>
            <th scope="col" class="right">
              Context
            </th>
            <th scope="col" class="right">
              Prompt, tok/s
            </th>
            <th scope="col" class="right">
              Answer, tok/s
            </th>
            <th scope="col" class="right">
              Weights read, GB/s
            </th>
          </tr>
        </thead>
        <tbody>
          {bench.readings.map(({ context, prefillTokensPerSecond, decodeTokensPerSecond }) => (
            <tr key={context}>
              <td class="right">{context}</td>
              <td class="right">{speed(prefillTokensPerSecond)}</td>
              <td class="right">{speed(decodeTokensPerSecond)}</td>
              <td class="right">{gigabytes(decodeTokensPerSecond * bench.bytesPerToken)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The machine and the model, before and after they were measured. */
function Setting({ bench }: { bench: Result }) {
  const first = bench.readings[0];
  const facts: [string, string][] = [
    ["Model", bench.model],
    ["Per token", bytes(bench.bytesPerToken)],
    ["Cores of this machine", String(bench.cores)],
    ["Threads", `${bench.threads}${bench.isolated ? "" : " (the page is not isolated)"}`],
    ["Engine", bench.flavour],
    ["Kernels", bench.kernels.join(", ")],
  ];
  if (first)
    facts.unshift(
      ["Prompt", `${speed(first.prefillTokensPerSecond)} tok/s`],
      ["Answer", `${speed(first.decodeTokensPerSecond)} tok/s`],
      ["Weights read", `${gigabytes(first.decodeTokensPerSecond * bench.bytesPerToken)} GB/s`],
    );
  return <Facts facts={facts} />;
}

export function Bench() {
  const { info } = model.value;
  const bench = result.value;
  const shown = bench ?? (engine.value && subjectOf(engine.value));
  const now = running.value;
  return (
    <div class="scroll" id="content" tabIndex={-1}>
      <article class="page">
        <h2>How fast is it here?</h2>
        <p class="lead">
          Reads a prompt and writes a few words at growing lengths of context, with the model that is loaded.
          Other tabs and programs slow it down.
        </p>
        {!info && <NoModel>Measuring needs a loaded model.</NoModel>}
        {info && (
          <div class="bench-bar">
            {now ? (
              <button type="button" class="button" onClick={() => now.abort()}>
                Stop
              </button>
            ) : (
              <button type="button" class="button main" disabled={busy.value} onClick={() => void run()}>
                {bench ? "Measure again" : "Measure"}
              </button>
            )}
            {now && (
              <span class="aside figures">
                <span class="trits" aria-hidden="true">
                  <i />
                  <i />
                  <i />
                </span>{" "}
                {bench?.readings.length ?? 0} of {stages(info.context).length}
              </span>
            )}
            {busy.value && !now && (
              <span class="aside">An answer is being written; wait for it or stop it.</span>
            )}
          </div>
        )}
        {trouble.value && <ErrorNotice code={trouble.value.code} message={trouble.value.message} />}
        {shown && <Setting bench={shown} />}
        {bench && (
          <>
            {bench.readings.length > 1 && (
              <>
                <h3>As the context grows</h3>
                <Plot readings={bench.readings} dark={theme.value} />
              </>
            )}
            {bench.readings.length > 0 && <Table bench={bench} />}
            {bench.readings.length > 0 && !now && (
              <p class="bench-bar">
                <CopyButton text={JSON.stringify(bench, null, 2)} label="Copy as JSON" />
                <span class="aside">Copy as JSON</span>
              </p>
            )}
          </>
        )}
      </article>
    </div>
  );
}
