/**
 * Puts the service worker in charge, and gets the page isolated so that the engine may use threads.
 *
 * A first visit to hosting without COOP/COEP is not isolated; once the worker can add them, one reload makes it so.
 * That reload happens only while nothing has been typed or loaded, and at most once per tab.
 */

import { signal } from "@preact/signals";

/** Set when a newer version of the page waits; calling it takes that version. */
export const takeUpdate = signal<(() => void) | null>(null);

const TRIED = "isolation-tried";
let touched = false;

/** Says that the person began something that a reload would lose. */
export function touch(): void {
  touched = true;
}

function tried(): boolean {
  try {
    if (sessionStorage.getItem(TRIED)) return true;
    sessionStorage.setItem(TRIED, "1");
    return false;
  } catch {
    return true;
  }
}

function control(worker: ServiceWorkerContainer, wait: number): Promise<boolean> {
  if (worker.controller) return Promise.resolve(true);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), wait);
    worker.addEventListener("controllerchange", () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Resolves when it is known that no reload will come. */
export async function install(): Promise<void> {
  const worker = navigator.serviceWorker as ServiceWorkerContainer | undefined;
  if (!import.meta.env.PROD || !worker) return;
  let registration: ServiceWorkerRegistration | undefined;
  try {
    registration = await worker.register("./sw.js", { scope: "./" });
  } catch {
    return;
  }
  watchUpdates(registration, worker);
  if (window.crossOriginIsolated) return;
  if ((await control(worker, 4000)) && !touched && !window.crossOriginIsolated && !tried()) {
    location.reload();
    await new Promise(() => {});
  }
}

function watchUpdates(
  registration: ServiceWorkerRegistration | undefined,
  worker: ServiceWorkerContainer,
): void {
  // Tools that switch workers off give nothing here, whatever the type says.
  if (!registration) return;
  const offer = () => {
    const next = registration.waiting;
    if (!next || !worker.controller) return;
    takeUpdate.value = () => {
      worker.addEventListener("controllerchange", () => location.reload());
      next.postMessage("take-over");
    };
  };
  offer();
  registration.addEventListener("updatefound", () =>
    registration.installing?.addEventListener("statechange", offer),
  );
}

/** Asks the worker to keep the engine that this page ran, for the next visit without a network. */
export function keepEngine(): void {
  void navigator.serviceWorker?.ready.then((registration) => registration.active?.postMessage("keep-engine"));
}
