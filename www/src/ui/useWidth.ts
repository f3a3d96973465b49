/** The width of an element in CSS pixels, so that drawings keep their type size on every screen. */

import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export function useWidth<T extends Element>(initial = 640): [RefObject<T | null>, number] {
  const place = useRef<T>(null);
  const [width, setWidth] = useState(initial);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const watch = new ResizeObserver(([entry]) => entry && setWidth(Math.round(entry.contentRect.width)));
    setWidth(Math.round(element.getBoundingClientRect().width));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [place, width];
}
