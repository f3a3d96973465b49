// Instructions per multiply-add of the hot loops, counted by callgrind: a guard against slower code that no
// busy machine can disturb. callgrind knows AVX2, so those kernels stand for all: the loops are the same.
//
//   node instructions.mjs PROGRAM [--write]      PROGRAM: crates/core/examples/product.rs, built for release
//
// Compilers differ a little, so a count may be 10 % above the one in data/instructions.json.
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const [program, option] = process.argv.slice(2);
const file = new URL("data/instructions.json", import.meta.url);
const MACS = 256 * 2560;
const ROOM = 1.1;

function count(kernel, tokens, times) {
	const args = ["--tool=callgrind", "--callgrind-out-file=/dev/null", program, kernel, tokens, times].map(String);
	const { status, stderr } = spawnSync("valgrind", args, { encoding: "utf8" });
	const collected = /Collected : (\d+)/.exec(stderr);
	if (status !== 0 || collected === null) throw new Error(`${kernel}: ${stderr}`);
	return Number(collected[1]);
}

const list = execFileSync("valgrind", ["--tool=none", "-q", program], { encoding: "utf8" });
const kernels = list.split("\n").filter((name) => name.endsWith("/avx2"));
if (kernels.length === 0) {
	console.log("NOT TESTED: this CPU has no AVX2");
	process.exit(0);
}
const counted = {};
for (const kernel of kernels) {
	for (const tokens of [1, 16]) {
		// The difference of two runs is what two products cost, without setting up.
		const instructions = count(kernel, tokens, 3) - count(kernel, tokens, 1);
		counted[`${kernel}, ${tokens} tokens`] = Number((instructions / 2 / MACS / tokens).toPrecision(4));
	}
}
if (option === "--write") {
	writeFileSync(file, `${JSON.stringify(counted, null, 2)}\n`);
} else {
	const known = JSON.parse(readFileSync(file, "utf8"));
	for (const [loop, perMac] of Object.entries(counted)) {
		const was = known[loop];
		const verdict = was === undefined ? "unknown: --write" : perMac > was * ROOM ? "MORE" : "";
		console.log(`${loop.padEnd(32)} ${perMac.toFixed(4)} instructions per multiply-add, ${was} known ${verdict}`);
		if (verdict !== "") process.exitCode = 1;
	}
}
