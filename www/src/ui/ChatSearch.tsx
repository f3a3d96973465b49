/** Finding conversations by what was said in them, and taking all of them out of this browser or into it. */

import { exportAll, ImportError, importAll } from "../state/backup";
import { chats, openAt, openChat } from "../state/chats";
import { type Hit, hits, query, searching } from "../state/search";
import { Glyph } from "./icons";
import { Menu } from "./Menu";
import { notify } from "./Notice";
import { drawer, go } from "./route";

export function open(hit: Hit): void {
  if (hit.message) void openAt(hit.chat, hit.message);
  else openChat(hit.chat);
  go("chat");
  drawer.value = null;
}

const many = (count: number, what: string) =>
  `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** Brings in the conversations of a file, and says what came of it. */
export async function bringIn(file: File): Promise<void> {
  try {
    const { chats: count, messages, known } = await importAll(file);
    const also = known > 0 ? `; ${many(known, "message")} were here already` : "";
    notify(`Imported ${many(count, "conversation")} with ${many(messages, "new message")}${also}`);
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    notify(`Nothing was imported: ${error.message}.`, { label: "Close", run: () => {} }, "stay");
  }
}

export function chooseFile(): void {
  const field = Object.assign(document.createElement("input"), { type: "file", accept: ".json" });
  field.addEventListener("change", () => {
    const file = field.files?.[0];
    if (file) void bringIn(file);
  });
  field.click();
}

export async function takeOut(): Promise<void> {
  notify(`Exported ${many(await exportAll(), "conversation")}`);
}

export function ChatSearch() {
  return (
    <div class="search">
      <input
        type="search"
        aria-label="Search conversations"
        placeholder="Search"
        value={query.value}
        onInput={(event) => (query.value = event.currentTarget.value)}
        onKeyDown={(event) => {
          const first = hits.value?.[0];
          if (event.key === "Enter" && first) open(first);
          if (event.key === "Escape" && query.value) {
            event.stopPropagation();
            query.value = "";
          }
        }}
      />
      <Menu id="menu-all" label="All conversations">
        <button type="button" disabled={chats.value.length === 0} onClick={() => void takeOut()}>
          <Glyph name="down" /> Export all as JSON
        </button>
        <button type="button" onClick={chooseFile}>
          <Glyph name="up" /> Import from JSON
        </button>
      </Menu>
    </div>
  );
}

/** More than this nobody reads; another word narrows it down. */
const MOST = 100;

export function Found() {
  const found = hits.value;
  if (!searching.value || found === null) return null;
  const titles = new Map(chats.value.map(({ id, title }) => [id, title]));
  return (
    <section aria-label="Found">
      <h2 aria-live="polite">{found.length === 0 ? "Nothing found" : `${found.length} found`}</h2>
      <ul>
        {found.slice(0, MOST).map((hit) => (
          <li key={hit.chat}>
            <button type="button" class="open hit" onClick={() => open(hit)}>
              <bdi>{titles.get(hit.chat)}</bdi>
              {hit.around && (
                <span dir="auto">
                  {hit.around[0]}
                  <mark>{hit.around[1]}</mark>
                  {hit.around[2]}
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
