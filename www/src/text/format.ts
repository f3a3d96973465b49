/**
 * Numbers as people read them: bytes, rates, durations, shares.
 *
 * Sizes use decimal units, as download sizes do everywhere else a person meets them.
 */

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** `98362432` → `98 MB`. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit < 2 || value >= 99.5 ? 0 : value >= 9.95 ? (unit >= 3 ? 1 : 0) : unit >= 3 ? 2 : 1;
  return `${value.toFixed(digits)}\u00a0${UNITS[unit] ?? ""}`;
}

/** Seconds left, rounded the way one would say it. */
export function duration(seconds: number): string {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** `134515008` → `135 M`. */
export function count(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(value >= 1e10 ? 0 : 1)} G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e7 ? 0 : 1)} M`;
  return value.toLocaleString("en");
}

/** A speed in tokens per second, without false digits. */
export function speed(perSecond: number): string {
  return perSecond >= 99.5 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

/** `0.4213` → `42.1 %`; small shares keep a digit that is not zero. */
export function share(part: number): string {
  const percent = part * 100;
  if (percent > 0 && percent < 0.01) return "< 0.01 %";
  return `${percent.toFixed(percent < 1 ? 2 : percent >= 99.95 ? 0 : 1)} %`;
}

/** The day a conversation was last touched, in words relative to today. */
export function day(time: number, now = Date.now()): string {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return "Today";
  if (time >= midnight - 86_400_000) return "Yesterday";
  if (time >= midnight - 6 * 86_400_000) return "This week";
  return new Date(time).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}
