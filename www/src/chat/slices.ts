/** A long conversation is drawn from its end, a few turns at a time, so that the page answers in between. */

import { useEffect, useState } from "preact/hooks";

/** Turns drawn at once: what fits a window and a little more. */
const FIRST = 12;
/** Milliseconds that a slice may take. */
const SLICE = 8;

/** How many of the last `all` turns are to be drawn now; grows by what fits a slice until it is all of them. */
export function useSlices(all: number, key: string | undefined, whole: boolean): number {
  const [state, setState] = useState({ key, count: FIRST, step: 4, started: 0 });
  // Another conversation begins anew, before it is drawn.
  const now = state.key === key ? state : { key, count: FIRST, step: 4, started: 0 };
  const count = whole ? all : now.count;
  const left = all - count;
  useEffect(() => {
    if (left <= 0) return;
    // The last slice told how long its turns took.
    const took = now.started > 0 ? performance.now() - now.started : SLICE;
    const step = Math.min(
      Math.max(Math.round((now.step * SLICE) / Math.max(took, 0.5)), 1),
      2 * now.step,
      16,
    );
    const timer = setTimeout(
      () => setState({ key, count: now.count + step, step, started: performance.now() }),
      0,
    );
    return () => clearTimeout(timer);
  }, [left <= 0, now.count, key]);
  // What was looked for in the middle of it stays.
  useEffect(() => {
    if (whole) setState({ key, count: all, step: 4, started: 0 });
  }, [whole, key, all]);
  return Math.min(count, all);
}
