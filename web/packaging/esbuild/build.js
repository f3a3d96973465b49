import { cpSync } from "node:fs";
import { build } from "esbuild";

await build({ entryPoints: ["main.js"], bundle: true, format: "esm", target: "es2022", outdir: "out" });
cpSync("index.html", "out/index.html");
// esbuild does not follow `new Worker(new URL(…))`: the worker and its builds are served as they are.
for (const folder of ["dist", "generated"]) {
  cpSync(`node_modules/ternlight/${folder}`, `out/ternlight/${folder}`, { recursive: true });
}
