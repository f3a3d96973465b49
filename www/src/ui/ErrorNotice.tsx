/** An error as a person needs it: what happened, what to do, and the engine's own words for those who want them. */

import type { ComponentChildren } from "preact";
import { adviceFor } from "../text/errors";

interface ErrorNoticeProps {
  code: string;
  message: string;
  onRetry?: (() => void) | undefined;
  children?: ComponentChildren;
}

export function ErrorNotice({ code, message, onRetry, children }: ErrorNoticeProps) {
  const { title, advice } = adviceFor(code);
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{title}.</strong> {advice}
      </p>
      <p class="detail">
        {message} ({code})
      </p>
      {(onRetry || children) && (
        <div class="actions">
          {onRetry && (
            <button type="button" class="button" onClick={onRetry}>
              Try again
            </button>
          )}
          {children}
        </div>
      )}
    </div>
  );
}
