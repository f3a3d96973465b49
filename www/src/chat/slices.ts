/** A long conversation is drawn from its end, a few turns at a time, so that the page answers in between. */

import { useEffect, useLayoutEffect, useState } from "preact/hooks";

/** Turns drawn at once: what fits a window and a little more. */
const FIRST = 12;
/** Milliseconds that a slice may take. */
const SLICE = 8;
/** Turns of the first slice after that; how long it took says how many the next one has. */
const STEP = 4;
const MOST = 16;

interface Drawn {
  key: string | undefined;
  count: number;
  step: number;
  /** When this slice was begun; 0 for the first. */
  started: number;
}

const begin = (key: string | undefined): Drawn => ({ key, count: FIRST, step: STEP, started: 0 });

/** How many of the last `all` turns are to be drawn now; grows slice by slice until it is all of them, or at once if `whole`. */
export function useSlices(all: number, key: string | undefined, whole: boolean): number {
  const [state, setState] = useState(() => begin(key));
  // Another conversation begins anew, before it is drawn.
  const now = state.key === key ? state : begin(key);
  const left = whole ? 0 : all - now.count;
  useLayoutEffect(() => {
    if (left <= 0) return;
    const took = now.started > 0 ? performance.now() - now.started : SLICE;
    const fitting = Math.round((now.step * SLICE) / Math.max(took, 1));
    const step = Math.min(Math.max(fitting, 1), 2 * now.step, MOST);
    const next = () => setState({ key, count: now.count + step, step, started: performance.now() });
    const timer = setTimeout(next, 0);
    return () => clearTimeout(timer);
  }, [left <= 0, now.count, key]);
  // What was looked for in the middle of it stays.
  useEffect(() => {
    if (whole) setState({ ...begin(key), count: all });
  }, [whole, key, all]);
  return whole ? all : Math.min(now.count, all);
}
