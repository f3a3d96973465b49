/**
 * Builds the page: one HTML file, its script and style sheet, the npm package as it is published, and `sw.js`, with
 * compressed copies of all that compresses well.
 *
 * The package is copied and not bundled: it finds its workers and wasm flavours beside itself, whichever there are.
 * `--mode fake` swaps the engine for `test/fake-engine.ts`, so that every state of the page can be looked at and tested
 * without a model; a production build cannot contain it.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, posix, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { RELATIVES, TERN_FILES } from "./src/model/catalogue.ts";

const here = import.meta.dirname;
/** Where models lie beside the page. */
const MODELS = "model/";

/** Puts the package's files under a name that changes with them, and makes the page import them from there. */
function engine(): Plugin {
  const root = dirname(createRequire(import.meta.url).resolve("ternlight/package.json"));
  const files = ["dist", "generated"]
    .flatMap((folder) =>
      readdirSync(resolve(root, folder), { recursive: true, encoding: "utf8" }).map(
        (name) => `${folder}/${name}`,
      ),
    )
    .filter((name) => /\.(?:js|wasm)$/.test(name))
    .sort();
  const sources = new Map(files.map((name) => [name, readFileSync(resolve(root, name))]));
  const hash = createHash("sha256");
  for (const [name, source] of sources) hash.update(name).update(source);
  const folder = `engine/${hash.digest("hex").slice(0, 8)}`;
  return {
    name: "engine",
    apply: "build",
    enforce: "pre",
    resolveId: (source) => (source === "ternlight" ? { id: source, external: true } : null),
    renderChunk: (code, chunk) =>
      chunk.imports.includes("ternlight")
        ? code.replaceAll(/(from\s*|import\s*)(["'`])ternlight\2/g, `$1"../${folder}/dist/index.js"`)
        : null,
    generateBundle() {
      for (const [name, source] of sources)
        this.emitFile({ type: "asset", fileName: `${folder}/${name}`, source });
    },
    // Without this list the browser learns of each module only from the one that imports it.
    transformIndexHtml: () =>
      importedBy("dist/index.js", sources).map((name) => ({
        tag: "link",
        attrs: { rel: "modulepreload", href: `./${folder}/${name}` },
        injectTo: "head",
      })),
  };
}

/** A module and all that it imports, directly or not. */
function importedBy(start: string, sources: ReadonlyMap<string, Buffer>): string[] {
  const found = new Set([start]);
  for (const name of found)
    for (const [, path = ""] of `${sources.get(name)}`.matchAll(/(?:from|import) ?"(\.[^"]+\.js)"/g)) {
      const imported = posix.join(posix.dirname(name), path);
      if (sources.has(imported)) found.add(imported);
    }
  return [...found];
}

/** Names the card by its whole address, as most that show cards want it, where `SITE` says where the page will be. */
function card(): Plugin {
  const site = process.env["SITE"];
  return {
    name: "card",
    apply: "build",
    transformIndexHtml: (html) =>
      site ? html.replace("./card.png", new URL("card.png", site.replace(/\/?$/, "/")).href) : html,
  };
}

/** Puts `.br` and `.gz` beside what compresses well, for hosts that serve such files. */
function compressed(): Plugin {
  let folder = "";
  const variants = [
    [
      ".br",
      (source: Buffer) =>
        brotliCompressSync(source, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: source.length } }),
    ],
    [".gz", (source: Buffer) => gzipSync(source, { level: 9 })],
  ] as const;
  return {
    name: "compressed",
    apply: "build",
    enforce: "post",
    configResolved: (config) => {
      folder = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        // Weights are left alone: a download of them can be taken up again only where it is sent as it is.
        if (!/\.(?:js|css|html|json|wasm|svg|webmanifest)$/.test(name)) continue;
        const path = resolve(folder, name);
        const source = readFileSync(path);
        for (const [ending, compress] of variants) {
          const packed = compress(source);
          if (source.length > 1000 && packed.length < 0.9 * source.length)
            writeFileSync(path + ending, packed);
        }
      }
    },
  };
}

/** KaTeX lists each font in three formats; every browser that can run the engine takes the first. */
function oneFontFormat(): Plugin {
  return {
    name: "one-font-format",
    enforce: "pre",
    transform: (code, id) =>
      /katex.*\.css/.test(id)
        ? code.replaceAll(/,url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, "")
        : null,
  };
}

/** Puts the repository's own trained models beside the page. */
function terns(): Plugin {
  const root = resolve(here, "../crates/tern");
  return {
    name: "terns",
    apply: "build",
    generateBundle() {
      for (const model of ["tern", ...RELATIVES])
        for (const name of TERN_FILES)
          this.emitFile({
            type: "asset",
            fileName: `${MODELS}${model}/${name}`,
            source: readFileSync(resolve(root, model, name)),
          });
    },
  };
}

/** Writes the list of files that make up the page into the service worker. */
function shell(): Plugin {
  return {
    name: "shell",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") return;
      const hash = createHash("sha256").update(worker.code);
      const files: string[] = [];
      for (const [name, item] of Object.entries(bundle).sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (name === "sw.js" || name.endsWith(".map") || name.startsWith(MODELS)) continue;
        files.push(name);
        hash.update(name).update(item.type === "chunk" ? item.code : item.source);
      }
      for (const name of readdirSync(resolve(here, "public"))) {
        // Only those who are sent a link look at the card.
        if (name === "card.png") continue;
        files.push(name);
        hash.update(name).update(readFileSync(resolve(here, "public", name)));
      }
      // What only some replies need is kept when it was first needed.
      const heavy = (name: string) => name.endsWith(".wasm") || /KaTeX|\/(?:typeset|highlight)-/.test(name);
      const list = {
        version: hash.digest("hex").slice(0, 12),
        files: files.filter((name) => !heavy(name)),
        later: files.filter(heavy),
      };
      worker.code = worker.code.replaceAll("__SHELL__", JSON.stringify(list));
    },
  };
}

export default defineConfig(({ mode }) => ({
  base: "./",
  plugins: [oneFontFormat(), card(), ...(mode === "fake" ? [] : [engine(), terns()]), shell(), compressed()],
  resolve:
    mode === "fake"
      ? { alias: [{ find: /^ternlight$/, replacement: resolve(here, "test/fake-engine.ts") }] }
      : {},
  optimizeDeps: { exclude: ["ternlight"] },
  build: {
    target: "es2022",
    outDir: mode === "fake" ? "test/out/fake" : "dist",
    emptyOutDir: true,
    // Data URLs would need a wider policy, and fonts are better cached as files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: resolve(here, "index.html"), sw: resolve(here, "src/offline/sw.ts") },
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  preview: { host: "127.0.0.1", strictPort: true },
}));
