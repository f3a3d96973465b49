/**
 * Builds the page: one HTML file, one script, one style sheet, the engine's worker and wasm, and `sw.js` beside them.
 *
 * `--mode fake` swaps the engine for `test/fake-engine.ts`, so that every state of the page can be looked at and tested
 * without a model; a production build cannot contain it.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;

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
        if (name === "sw.js" || name.endsWith(".map")) continue;
        files.push(name);
        hash.update(name).update(item.type === "chunk" ? item.code : item.source);
      }
      for (const name of readdirSync(resolve(here, "public"))) {
        files.push(name);
        hash.update(name).update(readFileSync(resolve(here, "public", name)));
      }
      const engine = (name: string) => name.endsWith(".wasm");
      const list = {
        version: hash.digest("hex").slice(0, 12),
        files: files.filter((name) => !engine(name)),
        later: files.filter(engine),
      };
      worker.code = worker.code.replaceAll("__SHELL__", JSON.stringify(list));
    },
  };
}

export default defineConfig(({ mode }) => ({
  base: "./",
  plugins: [shell()],
  resolve: mode === "fake" ? { alias: { ternlight: resolve(here, "test/fake-engine.ts") } } : {},
  worker: { format: "es" },
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
