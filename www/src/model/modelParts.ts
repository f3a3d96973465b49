/**
 * A model's tensors as a person thinks of them: what is before the layers, the layers, what is after.
 *
 * Invariant: every tensor is in exactly one part, so the parts' bytes add up to the model's.
 */

import type { ModelInfo, TensorSummary } from "ternlight";

/** How many weights are −1, 0 and +1. */
export type Trits = [minus: number, zero: number, plus: number];

export interface Part {
  name: string;
  /** Index of the layer; null for what stands outside of them. */
  layer: number | null;
  tensors: TensorSummary[];
  bytes: number;
  /** Bytes in ternary matrices; the rest is kept in other forms. */
  ternaryBytes: number;
  trits: Trits;
}

const LAYER = /(?:^|\.)(?:blk|layers|h|block)\.(\d+)\./;

function part(name: string, layer: number | null, tensors: TensorSummary[]): Part {
  const trits: Trits = [0, 0, 0];
  let bytes = 0;
  let ternaryBytes = 0;
  for (const tensor of tensors) {
    bytes += tensor.bytes;
    if (!tensor.counts) continue;
    ternaryBytes += tensor.bytes;
    tensor.counts.forEach((value, index) => {
      trits[index] = (trits[index] ?? 0) + value;
    });
  }
  return { name, layer, tensors, bytes, ternaryBytes, trits };
}

export function partsOf(info: ModelInfo): Part[] {
  const layers = new Map<number, TensorSummary[]>();
  const outside: TensorSummary[] = [];
  for (const tensor of info.tensors) {
    const found = LAYER.exec(tensor.name)?.[1];
    if (found === undefined) outside.push(tensor);
    else {
      const index = Number(found);
      layers.set(index, [...(layers.get(index) ?? []), tensor]);
    }
  }
  const embedding = outside.filter(({ name }) => /embed|embd/.test(name));
  const after = outside.filter((tensor) => !embedding.includes(tensor));
  const inner = [...layers]
    .sort(([a], [b]) => a - b)
    .map(([index, tensors]) => part(`Layer ${index}`, index, tensors));
  return [
    ...(embedding.length > 0 ? [part("Embedding", null, embedding)] : []),
    ...inner,
    ...(after.length > 0 ? [part("Output", null, after)] : []),
  ];
}

export function total(trits: Trits): number {
  return trits[0] + trits[1] + trits[2];
}

export function addTrits(parts: Part[]): Trits {
  return parts.reduce<Trits>(
    (sum, { trits }) => [sum[0] + trits[0], sum[1] + trits[1], sum[2] + trits[2]],
    [0, 0, 0],
  );
}

/** A tensor's own name inside its layer: `blk.3.attn_q.weight` → `attn_q`. */
export function shortName(name: string): string {
  return name.replace(/^.*(?:blk|layers|h|block)\.\d+\./, "").replace(/\.weight$/, "");
}
