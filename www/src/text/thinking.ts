/** Replies of models that think aloud first: the thought, between `<think>` and `</think>`, and the answer behind it. */

export interface Spoken {
  /** Null where the model does not think aloud. */
  thought: string | null;
  /** The thought is not at its end yet. */
  open: boolean;
  answer: string;
}

const OPEN = /^\s*<think>\s*/;
/** Alone on its line: elsewhere it may be an answer's own words. */
const CLOSE = /(?:^|\n)[ \t]*<\/think>/;
const CLOSE_AFTER_OPEN = "</think>";

/** Takes a reply apart. Some templates write the opening themselves, so the closing alone says enough. */
export function splitThought(text: string): Spoken {
  const opening = OPEN.exec(text)?.[0].length;
  if (opening !== undefined) {
    const end = text.indexOf(CLOSE_AFTER_OPEN, opening);
    if (end < 0) return { thought: text.slice(opening), open: true, answer: "" };
    const answer = text.slice(end + CLOSE_AFTER_OPEN.length).trimStart();
    return { thought: text.slice(opening, end).trimEnd(), open: false, answer };
  }
  const close = text.includes(CLOSE_AFTER_OPEN) ? CLOSE.exec(text) : null;
  if (!close || text.slice(0, close.index).includes("<think>"))
    return { thought: null, open: false, answer: text };
  const answer = text.slice(close.index + close[0].length).trimStart();
  return { thought: text.slice(0, close.index).trim(), open: false, answer };
}

/** What a reply says, without what was thought before. */
export function answerOf(text: string): string {
  return splitThought(text).answer;
}
