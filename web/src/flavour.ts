/**
 * Which build of the engine runs here.
 *
 * WebAssembly validates whole modules, so each instruction set level is a module of its own. A module of one
 * function with one instruction of the level shows whether the browser knows it. Whether it also computes it
 * right is for the engine's self-test, which passes over kernels that fail it.
 */
import type { Flavour } from "./protocol.js";

/** Best first. */
export const FLAVOURS: readonly Flavour[] = ["threads", "relaxed", "simd128"];

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
/** type section: () -> v128; function section: one of that type. */
const ONE_V128_FUNCTION = [0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, 0x03, 0x02, 0x01, 0x00];
/** i32.const 0, i8x16.splat */
const SPLAT = [0x41, 0x00, 0xfd, 0x0f];

/** A module whose only function is `code`, then `end`. */
function probe(code: readonly number[]): Uint8Array<ArrayBuffer> {
  const body = [0x00, ...code, 0x0b];
  return new Uint8Array([...HEADER, ...ONE_V128_FUNCTION, 0x0a, body.length + 2, 0x01, body.length, ...body]);
}

const RELAXED = probe([...SPLAT, ...SPLAT, ...SPLAT, 0xfd, 0x93, 0x02]);

const PROBES: Record<Flavour, Uint8Array<ArrayBuffer>> = {
  /** i8x16.popcnt, among the last instructions to be standardised. */
  simd128: probe([...SPLAT, 0xfd, 0x62]),
  /** i32x4.relaxed_dot_i8x16_i7x16_add_s */
  relaxed: RELAXED,
  threads: RELAXED,
};

/** The builds that this browser can load, best first. */
export function supported(): Flavour[] {
  return FLAVOURS.filter(
    (flavour) => WebAssembly.validate(PROBES[flavour]) && (flavour !== "threads" || sharesMemory()),
  );
}

/** Whether memory can be shared with workers: the page must be cross-origin isolated. */
function sharesMemory(): boolean {
  return globalThis.crossOriginIsolated && typeof SharedArrayBuffer === "function";
}
