/** What a person can choose about answers, and which of it a conversation may have its own way. */

export interface Settings {
  system: string;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  maxTokens: number;
  /** null draws a new seed for every reply. */
  seed: number | null;
  /** Keep each token's probability and its alternatives. */
  probabilities: boolean;
  /** Experts of each layer that a token is given to; 0: as the model says. */
  experts: number;
  /** Passes through the loop; 0: as the model says. */
  loops: number;
  /** A token leaves the loop from this probability on; 1: after the last pass. */
  exit: number;
  /** 0 uses every core the engine finds useful. */
  threads: number;
  /** 0 takes the model's own, capped by the engine. */
  context: number;
}

/** Settings that a conversation may have of its own. */
export const OWN = [
  "system",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "maxTokens",
  "seed",
  "experts",
  "loops",
  "exit",
] as const;

export type OwnSettings = Partial<Pick<Settings, (typeof OWN)[number]>>;
