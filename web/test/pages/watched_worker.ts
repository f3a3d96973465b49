/** The package's worker, which tells the page of rejections that nothing handled. */
// Static: messages that come before the package listens would be lost.
import "../../src/worker.js";

self.addEventListener("unhandledrejection", ({ reason }) => postMessage({ unhandled: String(reason) }));
