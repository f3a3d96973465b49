/** The whole page: sidebar, stage, panels, and the keys and drops that work everywhere. */

import { signal } from "@preact/signals";
import { lazy, Suspense } from "preact/compat";
import { useEffect } from "preact/hooks";
import { attachOrSay } from "./chat/Composer";
import { Conversation } from "./chat/Conversation";
import { startWriting } from "./chat/writing";
import { About } from "./model/About";
import { DownloadQuestion } from "./model/DownloadQuestion";
import { loadFile, model, weightsAmong } from "./model/loading";
import { Models } from "./model/Models";
import { busy, stop } from "./state/answer";
import { isBackup } from "./state/backup";
import { chat } from "./state/chats";
import { Announcer } from "./ui/announce";
import { bringIn } from "./ui/ChatSearch";
import { Glyph } from "./ui/icons";
import { Keys } from "./ui/Keys";
import { Notice } from "./ui/Notice";
import { Palette } from "./ui/Palette";
import { drawer, keysOpen, modelsOpen, paletteOpen, route, settingsOpen } from "./ui/route";
import { SettingsPanel } from "./ui/SettingsPanel";
import { newChat, Sidebar } from "./ui/Sidebar";

// The bench brings a plotting library that a chat has no use for.
const Bench = lazy(() => import("./bench/Bench").then((part) => part.Bench));

// So is what explains the page to those who are new to it.
const Why = lazy(() => import("./why/Why").then((part) => part.Why));

const dragging = signal(false);

const TITLES = { why: "Why −1, 0, +1", about: "About this model", bench: "Bench" } as const;

const STATES = { idle: "not loaded", loading: "loading", ready: "ready", failed: "failed to load" } as const;

function Top() {
  const { name, state } = model.value;
  const here = route.value;
  const title = here === "chat" ? (chat.value?.title ?? "New chat") : TITLES[here];
  return (
    <header class="top">
      <button
        type="button"
        class="icon menu-button"
        aria-label="Conversations"
        aria-expanded={drawer.value === "chats"}
        aria-controls="side"
        onClick={() => (drawer.value = "chats")}
      >
        <Glyph name="menu" />
      </button>
      <h1>
        <span class={here === "chat" && !chat.value ? "unseen" : undefined}>{title}</span>
      </h1>
      <button
        type="button"
        class="model-chip"
        title="Choose a model"
        onClick={() => (modelsOpen.value = true)}
      >
        <span class="lamp" data-state={state} />
        <span class="unseen">Model:</span>
        <span>{name}</span>
        <span class="unseen">({STATES[state]}). Choose another.</span>
      </button>
      {here === "chat" && (
        <button
          type="button"
          class="icon"
          title="Settings"
          aria-label="Settings"
          aria-expanded={settingsOpen.value}
          aria-controls="settings"
          onClick={() => (settingsOpen.value = !settingsOpen.value)}
        >
          <Glyph name="sliders" />
        </button>
      )}
    </header>
  );
}

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

function onKey(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    paletteOpen.value = !paletteOpen.value;
  } else if (event.key === "Escape" && !document.querySelector("dialog[open], [popover]:popover-open")) {
    if (drawer.value) drawer.value = null;
    else if (busy.value) stop();
    else if (settingsOpen.value) settingsOpen.value = false;
  } else if (
    event.key === "/" &&
    !typing(event.target) &&
    !event.ctrlKey &&
    !event.metaKey &&
    !event.altKey
  ) {
    event.preventDefault();
    startWriting();
  } else if (event.key === "?" && !typing(event.target)) {
    keysOpen.value = true;
  } else if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    newChat();
  }
}

/** What was dropped: conversations, a model, or texts for the next question. */
async function takeIn(files: File[]): Promise<void> {
  const [first] = files;
  if (!first) return;
  if (files.length === 1 && (await isBackup(first))) return bringIn(first);
  if (await weightsAmong(files)) return loadFile(files);
  startWriting();
  return attachOrSay(files);
}

function carriesFile(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

function useWindow() {
  useEffect(() => {
    let depth = 0;
    const over = (event: DragEvent) => carriesFile(event) && event.preventDefault();
    const enter = (event: DragEvent) => {
      if (!carriesFile(event)) return;
      depth += 1;
      dragging.value = true;
    };
    const leave = (event: DragEvent) => {
      if (!carriesFile(event)) return;
      depth -= 1;
      if (depth <= 0) dragging.value = false;
    };
    const drop = (event: DragEvent) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      depth = 0;
      dragging.value = false;
      modelsOpen.value = false;
      void takeIn([...(event.dataTransfer?.files ?? [])]);
    };
    window.addEventListener("keydown", onKey);
    window.addEventListener("dragover", over);
    window.addEventListener("dragenter", enter);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("keydown", onKey);
      window.removeEventListener("dragover", over);
      window.removeEventListener("dragenter", enter);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
    };
  }, []);
}

export function App() {
  useWindow();
  const title = chat.value?.title;
  useEffect(() => {
    document.title = title ? `${title} · ternlight` : "ternlight";
  }, [title]);
  const here = route.value;
  const panel = here === "chat" && settingsOpen.value;
  const covered = drawer.value !== null || panel;
  return (
    <>
      <button
        type="button"
        class="skip button"
        onClick={() => (here === "chat" ? startWriting() : document.getElementById("content")?.focus())}
      >
        Skip to the {here === "chat" ? "message" : "content"}
      </button>
      <div class="shell" data-drawer={drawer.value ? "open" : undefined}>
        <Sidebar />
        <main class="stage">
          <Top />
          {here === "chat" && <Conversation />}
          {here === "about" && <About />}
          {here === "why" && (
            <Suspense fallback={null}>
              <Why />
            </Suspense>
          )}
          {here === "bench" && (
            <Suspense fallback={null}>
              <Bench />
            </Suspense>
          )}
        </main>
        {panel && <SettingsPanel />}
        {covered && (
          <button
            type="button"
            class="curtain"
            aria-label="Close"
            tabIndex={-1}
            onClick={() => {
              drawer.value = null;
              settingsOpen.value = false;
            }}
          />
        )}
      </div>
      {modelsOpen.value && <Models />}
      <DownloadQuestion />
      {paletteOpen.value && <Palette />}
      {keysOpen.value && <Keys />}
      {dragging.value && <div class="drop">Drop a model to load it, or texts to ask about them</div>}
      <Notice />
      <Announcer />
    </>
  );
}
