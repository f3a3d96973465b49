// Runs a wasm32-wasip1 program (Rust's test harness) and passes on its output and exit
// code: the simd128 flavour in Node.js, the relaxed one in Chromium. It exists so that the
// same #[test] functions check every kernel on the engine that will run it.
//
//   node run.mjs simd128|relaxed PROGRAM.wasm [ARGUMENT...]
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const [flavour, program, ...args] = process.argv.slice(2);

async function inNode() {
	const { WASI } = await import("node:wasi");
	const wasi = new WASI({ version: "preview1", args: [program, ...args], returnOnExit: true });
	const module = await WebAssembly.compile(await readFile(program));
	return wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
}

async function inChromium() {
	const { chromium } = await import("playwright-core");
	const browser = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
	});
	try {
		const page = await browser.newPage();
		const shim = new URL(".", import.meta.resolve("@bjorn3/browser_wasi_shim"));
		// Nothing listens there: every request is answered here.
		await page.route("http://tests.invalid/**", async (route) => {
			const { pathname } = new URL(route.request().url());
			if (pathname === "/") return route.fulfill({ contentType: "text/html", body: "<!doctype html>" });
			if (pathname === "/program.wasm") {
				return route.fulfill({ contentType: "application/wasm", body: await readFile(program) });
			}
			const body = await readFile(fileURLToPath(new URL(pathname.slice(1), shim)));
			return route.fulfill({ contentType: "text/javascript", body });
		});
		await page.exposeFunction("print", (line) => console.log(line));
		await page.goto("http://tests.invalid/");
		return await page.evaluate(async (args) => {
			const { WASI, File, OpenFile, ConsoleStdout } = await import("/index.js");
			const lines = [];
			const output = () => ConsoleStdout.lineBuffered((line) => lines.push(line));
			const wasi = new WASI(args, [], [new OpenFile(new File([])), output(), output()]);
			const { instance } = await WebAssembly.instantiateStreaming(fetch("/program.wasm"), {
				wasi_snapshot_preview1: wasi.wasiImport,
			});
			try {
				return wasi.start(instance);
			} catch (trap) {
				lines.push(String(trap));
				return 101; // as a panicking Rust program exits
			} finally {
				await window.print(lines.join("\n"));
			}
		}, [program, ...args]);
	} finally {
		await browser.close();
	}
}

process.exitCode = await (flavour === "relaxed" ? inChromium() : inNode());
