/** The system prompt, and the named ones that can take its place. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { dropPrompt, keepPrompt, prompts } from "../state/prompts";
import { set, settings } from "../state/settings";

export function SystemPrompt() {
  const text = settings.value.system;
  const [naming, setNaming] = useState(false);
  const name = useRef<HTMLInputElement>(null);
  const save = useRef<HTMLButtonElement>(null);
  const chosen = prompts.value.find((one) => one.text === text);
  useLayoutEffect(() => {
    if (naming) name.current?.focus();
  }, [naming]);
  const finish = (keep: boolean) => {
    if (keep) keepPrompt(name.current?.value ?? "", text);
    setNaming(false);
    queueMicrotask(() => save.current?.focus());
  };
  return (
    <div class="field">
      <label for="set-system">System prompt</label>
      {prompts.value.length > 0 && (
        <select
          aria-label="Named system prompts"
          value={chosen?.name ?? ""}
          onChange={(event) => {
            const found = prompts.value.find((one) => one.name === event.currentTarget.value);
            set("system", found?.text ?? "");
          }}
        >
          <option value="" hidden={text !== "" && !chosen}>
            {text === "" ? "The model's own" : "None"}
          </option>
          {text !== "" && !chosen && <option value="">Not saved</option>}
          {prompts.value.map((one) => (
            <option key={one.name} value={one.name}>
              {one.name}
            </option>
          ))}
        </select>
      )}
      <textarea
        id="set-system"
        rows={4}
        dir="auto"
        value={text}
        placeholder="The model's own"
        aria-describedby="hint-system"
        onInput={(event) => set("system", event.currentTarget.value)}
      />
      {naming ? (
        <div class="naming">
          <input
            ref={name}
            type="text"
            aria-label="Name of the system prompt"
            placeholder="Name"
            defaultValue={chosen?.name ?? ""}
            onKeyDown={(event) => {
              if (event.key !== "Enter" && event.key !== "Escape") return;
              event.preventDefault();
              event.stopPropagation();
              finish(event.key === "Enter");
            }}
          />
          <button type="button" class="button" onClick={() => finish(true)}>
            Save
          </button>
        </div>
      ) : (
        <div class="naming">
          <button
            ref={save}
            type="button"
            class="button small"
            disabled={!text.trim() || chosen !== undefined}
            onClick={() => setNaming(true)}
          >
            Save under a name
          </button>
          {chosen && (
            <button type="button" class="button small" onClick={() => dropPrompt(chosen.name)}>
              Forget “{chosen.name}”
            </button>
          )}
        </div>
      )}
      <p class="hint" id="hint-system">
        Said to the model before the conversation. Leave it empty to use what the model came with.
      </p>
    </div>
  );
}
