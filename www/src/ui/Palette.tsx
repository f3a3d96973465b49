/** Ctrl+K: find a conversation or do something, by typing a few letters of it. */

import { useState } from "preact/hooks";
import { busy, stop } from "../state/answer";
import { chats, openChat } from "../state/chats";
import { theme } from "../state/settings";
import { chooseFile, takeOut } from "./ChatSearch";
import { Dialog } from "./Dialog";
import { go, keysOpen, modelsOpen, paletteOpen, settingsOpen } from "./route";
import { newChat } from "./Sidebar";

interface Entry {
  name: string;
  note: string;
  run: () => void;
}

/** More than this nobody reads; another letter narrows it down. */
const MOST = 50;

function entries(): Entry[] {
  const doing: Entry[] = [
    { name: "New chat", note: "", run: newChat },
    { name: "Choose a model", note: "", run: () => (modelsOpen.value = true) },
    {
      name: "Settings",
      note: "",
      run: () => {
        go("chat");
        settingsOpen.value = true;
      },
    },
    { name: "Export all conversations", note: "", run: () => void takeOut() },
    { name: "Import conversations", note: "", run: chooseFile },
    { name: "Why −1, 0, +1", note: "", run: () => go("why") },
    { name: "About this model", note: "", run: () => go("about") },
    { name: "Bench", note: "", run: () => go("bench") },
    { name: "Keys", note: "?", run: () => (keysOpen.value = true) },
    { name: "Light colours", note: "", run: () => (theme.value = "light") },
    { name: "Dark colours", note: "", run: () => (theme.value = "dark") },
    { name: "Automatic colours", note: "", run: () => (theme.value = "auto") },
  ];
  if (busy.value) doing.unshift({ name: "Stop the answer", note: "Esc", run: stop });
  const talks = chats.value.map((one) => ({
    name: one.title,
    note: "Chat",
    run: () => {
      openChat(one.id);
      go("chat");
    },
  }));
  return [...doing, ...talks];
}

export function Palette() {
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries()
    .filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)))
    .slice(0, MOST);
  const chosen = Math.min(at, found.length - 1);
  const run = (entry: Entry | undefined) => {
    paletteOpen.value = false;
    entry?.run();
  };
  return (
    <Dialog
      title="Find a conversation or an action"
      bare
      class="palette"
      onClose={() => (paletteOpen.value = false)}
    >
      <input
        type="text"
        role="combobox"
        aria-label="Find a conversation or an action"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length > 0 ? `palette-${chosen}` : undefined}
        placeholder="Find a conversation or an action"
        autofocus
        value={query}
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            const next =
              (chosen + (event.key === "ArrowDown" ? 1 : found.length - 1)) % Math.max(found.length, 1);
            setAt(next);
            document.getElementById(`palette-${next}`)?.scrollIntoView({ block: "nearest" });
          } else if (event.key === "Enter") {
            event.preventDefault();
            run(found[chosen]);
          }
        }}
      />
      <ul id="palette-list" role="listbox" aria-label="Results">
        {found.map((entry, index) => (
          <li
            key={`${entry.note}${entry.name}${index}`}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === chosen}
            onPointerMove={() => setAt(index)}
            onClick={() => run(entry)}
          >
            <span>{entry.name}</span>
            <span class="note">{entry.note}</span>
          </li>
        ))}
        {found.length === 0 && (
          <li role="option" aria-selected="false" aria-disabled="true">
            <span class="note">Nothing by that name.</span>
          </li>
        )}
      </ul>
    </Dialog>
  );
}
