import { defineConfig } from "vite";

// Threads need shared memory, which a page has only with these two headers; without them everything else works.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  base: "./",
  build: { target: "es2023" },
  worker: { format: "es" },
  server: { headers },
  preview: { headers },
  // The package finds its workers and WebAssembly beside its own files, which pre-bundling would move.
  optimizeDeps: { exclude: ["ternlight"] },
});
