/** Above the composer while a model is on its way: phase, bytes, rate, time left; or why it did not come. */

import type { Progress } from "ternlight";
import { bytes, duration } from "../text/format";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Glyph } from "../ui/icons";
import { modelsOpen } from "../ui/route";
import { former, incoming, model, retryLoad, withdraw } from "./loading";

const PHASES: Record<Progress["phase"], string> = {
  resolve: "Asking for the file",
  wait: "Connection lost, trying again",
  cache: "Reading from this browser",
  download: "Downloading",
  file: "Reading from the disk",
  prepare: "Preparing",
};

interface LoadStripProps {
  /** What trying again means here, when it is more than loading. */
  onRetry?: () => void;
  /** What going back to the model from before means here, when it is more than that. */
  onBack?: () => void;
  /** What giving up means here. */
  onCancel?: () => void;
}

export function LoadStrip({ onRetry = retryLoad, onBack = withdraw, onCancel = withdraw }: LoadStripProps) {
  const { state, name, size, progress, trouble } = incoming.value ?? model.value;
  if (state === "failed" && trouble) {
    const before = former();
    return (
      <div class="loading failed">
        <ErrorNotice code={trouble.code} message={trouble.message} onRetry={onRetry}>
          {before && (
            <button type="button" class="button" onClick={onBack}>
              Back to {before}
            </button>
          )}
          <button type="button" class="button" onClick={() => (modelsOpen.value = true)}>
            Choose another model
          </button>
        </ErrorNotice>
      </div>
    );
  }
  if (state !== "loading") return null;
  const phase = progress?.phase ?? "resolve";
  const done = progress?.loaded ?? 0;
  // Some servers do not say how long a file is; for an offered one the page knows.
  const total = progress?.total ?? size;
  const rate = progress?.rate ?? 0;
  const left = progress?.secondsLeft ?? (total && rate > 0 ? (total - done) / rate : null);
  const part = total ? Math.min(done / total, 1) : null;
  return (
    <section class="loading" aria-label="Loading the model">
      <div class="say">
        <strong>{name}</strong>
        <button
          type="button"
          class="icon small"
          aria-label="Cancel loading"
          title="Cancel"
          onClick={onCancel}
        >
          <Glyph name="close" />
        </button>
      </div>
      <div
        class="track"
        role="progressbar"
        aria-label={`${PHASES[phase]} ${name}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={part === null ? undefined : Math.floor(part * 100)}
      >
        <i style={{ width: `${((part ?? 0) * 100).toFixed(1)}%` }} />
      </div>
      <div class="tell figures">
        <span>
          {PHASES[phase]}
          {progress && progress.fileCount > 1 ? ` ${progress.fileIndex + 1} of ${progress.fileCount}` : ""}
          {total ? `, ${bytes(done)} of ${bytes(total)}` : done > 0 ? `, ${bytes(done)}` : ""}
        </span>
        <span>
          {rate > 0 && `${bytes(rate)}/s`}
          {left !== null && left >= 1 && `, ${duration(left)} left`}
        </span>
      </div>
    </section>
  );
}
