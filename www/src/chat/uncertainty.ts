/** How open a choice was, from the candidates that are known. */

import type { ReplyToken } from "../state/messages";

/**
 * The entropy of the distribution a token was drawn from, in bits. All candidates that are not listed count as one, so
 * this is a lower bound.
 */
export function entropy({ text, logprob, top }: ReplyToken): number {
  const listed = top.map((one) => one.logprob);
  if (!top.some((one) => one.text === text)) listed.push(logprob);
  let rest = 1;
  let nats = 0;
  for (const one of listed) {
    const p = Math.exp(one);
    if (p <= 0) continue;
    rest -= p;
    nats -= p * one;
  }
  if (rest > 1e-6) nats -= rest * Math.log(rest);
  return nats / Math.LN2;
}
