import { defineConfig } from "vite";

export default defineConfig({
  build: { outDir: "out", target: "es2022" },
  // The engine's worker loads one of several builds: a module worker, which may import.
  worker: { format: "es" },
  // The development server would otherwise move the package away from its worker.
  optimizeDeps: { exclude: ["ternlight"] },
});
