/** The conversations kept in this browser, and the way to everything else. */

import { signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { startWriting } from "../chat/writing";
import { writingChat } from "../state/answer";
import { chat, chats, openChat, pinChat, removeChat, renameChat } from "../state/chats";
import { blocked, durable } from "../state/database";
import { exportChat } from "../state/exportChat";
import type { ChatRecord } from "../state/messages";
import { searching } from "../state/search";
import { theme } from "../state/settings";
import { day } from "../text/format";
import { ChatSearch, Found } from "./ChatSearch";
import { Glyph, type GlyphName } from "./icons";
import { Menu } from "./Menu";
import { notify } from "./Notice";
import { drawer, go, type Route, route } from "./route";

const renaming = signal<string | null>(null);

function newChat(): void {
  openChat(null);
  drawer.value = null;
  startWriting();
}

export function deleteWithUndo(one: ChatRecord): void {
  const undo = removeChat(one.id);
  notify(`Deleted “${one.title}”`, { label: "Undo", run: undo });
}

function ChatMenu({ one }: { one: ChatRecord }) {
  return (
    <Menu id={`menu-${one.id}`} label={`More for ${one.title}`} class="more">
      <button type="button" onClick={() => pinChat(one.id, !one.pinned)}>
        <Glyph name="pin" /> {one.pinned ? "Unpin" : "Pin to the top"}
      </button>
      <button type="button" onClick={() => (renaming.value = one.id)}>
        <Glyph name="pen" /> Rename
      </button>
      <button type="button" onClick={() => void exportChat(one, "markdown")}>
        <Glyph name="down" /> Export as Markdown
      </button>
      <button type="button" onClick={() => void exportChat(one, "json")}>
        <Glyph name="down" /> Export as JSON
      </button>
      <button
        type="button"
        class="danger"
        disabled={writingChat.value === one.id}
        onClick={() => deleteWithUndo(one)}
      >
        <Glyph name="bin" /> Delete
      </button>
    </Menu>
  );
}

const openerId = (one: ChatRecord) => `open-${one.id}`;

function Rename({ one }: { one: ChatRecord }) {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), []);
  const finish = (keep: boolean, focus: boolean) => {
    if (renaming.value !== one.id) return;
    renaming.value = null;
    if (keep) renameChat(one.id, field.current?.value ?? "");
    if (focus) queueMicrotask(() => document.getElementById(openerId(one))?.focus());
  };
  return (
    <input
      ref={field}
      type="text"
      aria-label="Name of the conversation"
      defaultValue={one.title}
      onBlur={() => finish(true, false)}
      onKeyDown={(event) => {
        if (event.key === "Enter") finish(true, true);
        if (event.key === "Escape") {
          event.stopPropagation();
          finish(false, true);
        }
      }}
    />
  );
}

function groups(all: readonly ChatRecord[]): { name: string; items: ChatRecord[] }[] {
  const result: { name: string; items: ChatRecord[] }[] = [];
  for (const one of all) {
    const name = one.pinned ? "Pinned" : day(one.updated);
    const last = result.at(-1);
    if (last?.name === name) last.items.push(one);
    else result.push({ name, items: [one] });
  }
  return result;
}

const THEMES = { auto: "light", light: "dark", dark: "auto" } as const;
const THEME_GLYPHS: Record<keyof typeof THEMES, GlyphName> = { auto: "auto", light: "sun", dark: "moon" };
const THEME_NAMES = { auto: "automatic", light: "light", dark: "dark" };

function ViewButton({ to, glyph, children }: { to: Route; glyph: GlyphName; children: string }) {
  return (
    <button
      type="button"
      class="button plain"
      aria-current={route.value === to ? "page" : undefined}
      onClick={() => {
        go(to);
        drawer.value = null;
      }}
    >
      <Glyph name={glyph} /> {children}
    </button>
  );
}

/** How many conversations are drawn at first, and more each time the end of the list comes near. */
const BATCH = 60;

/** Grows by `BATCH` whenever the returned element comes into view. */
function useGrowing(all: number): [RefObject<HTMLDivElement | null>, number] {
  const end = useRef<HTMLDivElement>(null);
  const [count, setCount] = useState(BATCH);
  const more = all > count;
  useEffect(() => {
    const element = end.current;
    if (!more || !element) return;
    const watch = new IntersectionObserver(
      ([entry]) => entry?.isIntersecting && setCount((before) => before + BATCH),
      { rootMargin: "400px" },
    );
    watch.observe(element);
    return () => watch.disconnect();
  }, [count, more]);
  return [end, count];
}

export function Sidebar() {
  const open = chat.value;
  const [end, count] = useGrowing(chats.value.length);
  return (
    <nav class="side" aria-label="Conversations and views" id="side">
      <div class="brand">
        <img src="./icon.svg" alt="" width="30" height="30" />
        <strong>ternlight</strong>
      </div>
      <button type="button" class="button" onClick={newChat}>
        <Glyph name="plus" /> New chat
      </button>
      {chats.value.length > 0 && <ChatSearch />}
      <div class="chats">
        <Found />
        {(searching.value ? [] : groups(chats.value.slice(0, count))).map((group) => (
          <section key={group.name} aria-label={group.name}>
            <h2>{group.name}</h2>
            <ul>
              {group.items.map((one) => (
                <li key={one.id}>
                  {renaming.value === one.id ? (
                    <Rename one={one} />
                  ) : (
                    <>
                      <button
                        type="button"
                        id={openerId(one)}
                        class="open"
                        title={one.title}
                        aria-current={open?.id === one.id && route.value === "chat" ? "true" : undefined}
                        onClick={() => {
                          openChat(one.id);
                          go("chat");
                          drawer.value = null;
                        }}
                      >
                        <bdi>{one.title}</bdi>
                      </button>
                      <ChatMenu one={one} />
                    </>
                  )}
                </li>
              ))}
            </ul>
          </section>
        ))}
        {!searching.value && chats.value.length > count && <div ref={end} class="more-chats" />}
        {blocked.value && (
          <p class="hint">
            Conversations are being moved to a new form. Close the other tabs of this page to see them.
          </p>
        )}
        {!durable.value && <p class="hint">This browser keeps no conversations: they end with the tab.</p>}
      </div>
      <div class="side-foot">
        <ViewButton to="why" glyph="trits">
          Why −1, 0, +1
        </ViewButton>
        <ViewButton to="about" glyph="layers">
          About this model
        </ViewButton>
        <ViewButton to="bench" glyph="chart">
          Bench
        </ViewButton>
        <button
          type="button"
          class="button plain"
          title="Change the colours"
          onClick={() => (theme.value = THEMES[theme.value])}
        >
          <Glyph name={THEME_GLYPHS[theme.value]} /> Colours: {THEME_NAMES[theme.value]}
        </button>
      </div>
    </nav>
  );
}

export { newChat };
