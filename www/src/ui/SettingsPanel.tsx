/** How the model answers: system prompt, sampling, and what the engine may use. Changes hold from the next reply on. */

import type { ModelInfo, Sampling } from "ternlight";
import { model, reload } from "../model/loading";
import { chat } from "../state/chats";
import {
  change,
  DEFAULTS,
  dropOwn,
  hasOwn,
  LIMITS,
  type NumberSetting,
  PRESETS,
  set,
  settings,
  shareOwn,
} from "../state/settings";
import { Glyph } from "./icons";
import { settingsOpen } from "./route";
import { SystemPrompt } from "./SystemPrompt";

interface SlideProps {
  name: NumberSetting;
  label: string;
  hint: string;
  off?: { at: number; says: string };
  /** A narrower bound than the setting's own. */
  most?: number;
}

function Slide({ name, label, hint, off, most }: SlideProps) {
  const { min, step, ...limit } = LIMITS[name];
  const max = most ?? limit.max;
  const value = Math.min(settings.value[name], max);
  return (
    <div class="field">
      <div class="pair">
        <label for={`set-${name}`}>{label}</label>
        <output class="figures" for={`set-${name}`}>
          {off?.at === value ? off.says : value}
        </output>
      </div>
      <input
        id={`set-${name}`}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-describedby={`hint-${name}`}
        aria-valuetext={off?.at === value ? off.says : String(value)}
        onInput={(event) => set(name, Number(event.currentTarget.value))}
      />
      <p class="hint" id={`hint-${name}`}>
        {hint}
      </p>
    </div>
  );
}

/** A whole number typed in; empty means `none`. */
function Whole({
  name,
  label,
  hint,
  none,
  most,
}: {
  name: "maxTokens" | "threads" | "context" | "seed";
  label: string;
  hint: string;
  none: number | null;
  /** A narrower bound than the setting's own. */
  most?: number | undefined;
}) {
  const value = settings.value[name];
  const limits =
    name === "seed" ? { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 } : { ...LIMITS[name], step: 1 };
  const max = most ?? limits.max;
  return (
    <div class="field">
      <label for={`set-${name}`}>{label}</label>
      <input
        id={`set-${name}`}
        type="number"
        min={limits.min}
        max={max}
        step={limits.step}
        placeholder={none === null ? "random" : "auto"}
        value={value === none ? "" : String(value)}
        aria-describedby={`hint-${name}`}
        onChange={(event) => {
          const { value: text, valueAsNumber: wanted } = event.currentTarget;
          if (text === "") {
            if (name === "seed") set("seed", null);
            else set(name, none ?? DEFAULTS[name]);
          } else if (Number.isFinite(wanted))
            set(name, Math.round(Math.min(Math.max(wanted, limits.min), max)));
        }}
      />
      <p class="hint" id={`hint-${name}`}>
        {hint}
      </p>
    </div>
  );
}

/** More passes than anybody waits for. */
const MOST_LOOPS = 16;

/** What only models with experts or a loop have. */
function Inside({ info: { experts, loop, loops } }: { info: ModelInfo }) {
  return (
    <>
      {experts && (
        <Slide
          name="experts"
          label="Experts"
          hint={`To how many a layer gives a token; the model was made for ${Math.max(...experts.active)}.`}
          off={{ at: 0, says: "as made" }}
          most={Math.min(...experts.count.filter((count) => count > 0))}
        />
      )}
      {loop?.most && (
        <Slide
          name="loops"
          label="Loops"
          hint={`Passes through the loop; the model was made for ${loops}.`}
          off={{ at: 0, says: "as made" }}
          most={Math.min(loop.most, MOST_LOOPS)}
        />
      )}
      {loop?.exit === "gate" && (
        <Slide
          name="exit"
          label="Early exit"
          hint="A token leaves the loop once it is this likely to be done."
          off={{ at: 1, says: "off" }}
        />
      )}
    </>
  );
}

/** Takes over what a model's authors suggest; where they say nothing, that sampler is off. */
function adopt({ temperature, topK, topP, minP, repetitionPenalty }: Sampling): void {
  change({
    temperature: temperature ?? 1,
    topK: topK ?? 0,
    topP: topP ?? 1,
    minP: minP ?? 0,
    repetitionPenalty: repetitionPenalty ?? 1,
  });
}

/** Says for which conversations the settings hold. */
function Scope() {
  if (!chat.value) return <p class="hint">For new conversations, and those without settings of their own.</p>;
  return (
    <div class="scope">
      <p class="hint">
        {hasOwn.value
          ? "For this conversation only."
          : "The usual ones. A change holds for this conversation."}
      </p>
      {hasOwn.value && (
        <>
          <button type="button" class="link" onClick={shareOwn}>
            Make them the usual ones
          </button>
          <button type="button" class="link" onClick={dropOwn}>
            Back to the usual ones
          </button>
        </>
      )}
    </div>
  );
}

function Presets() {
  const now = settings.value;
  return (
    <fieldset class="presets">
      <legend class="unseen">Presets</legend>
      {Object.entries(PRESETS).map(([name, values]) => (
        <button
          key={name}
          type="button"
          class="button small"
          aria-pressed={Object.entries(values).every(([key, value]) => now[key as NumberSetting] === value)}
          onClick={() => change(values)}
        >
          {name}
        </button>
      ))}
    </fieldset>
  );
}

export function SettingsPanel() {
  const now = settings.value;
  const running = model.value.running;
  const trained = model.value.info?.trainedContext;
  const sampling = model.value.info?.sampling;
  const suggests = sampling && Object.values(sampling).some((value) => value !== null) ? sampling : null;
  const stale = running !== null && (running.threads !== now.threads || running.context !== now.context);
  return (
    <aside class="panel" aria-label="Settings" id="settings">
      <div class="panel-head">
        <h2>Settings</h2>
        <button
          type="button"
          class="icon"
          aria-label="Close settings"
          onClick={() => (settingsOpen.value = false)}
        >
          <Glyph name="close" />
        </button>
      </div>
      <form onSubmit={(event) => event.preventDefault()}>
        <Scope />
        <SystemPrompt />
        <hr />
        <Presets />
        <Slide
          name="temperature"
          label="Temperature"
          hint="0 always takes the likeliest token; more is freer."
          off={{ at: 0, says: "greedy" }}
        />
        <Slide
          name="topP"
          label="Top p"
          hint="Draws from the likeliest tokens that make up this share."
          off={{ at: 1, says: "off" }}
        />
        <Slide
          name="topK"
          label="Top k"
          hint="Draws from at most this many tokens."
          off={{ at: 0, says: "off" }}
        />
        <Slide
          name="minP"
          label="Min p"
          hint="Leaves out tokens less likely than this part of the best."
          off={{ at: 0, says: "off" }}
        />
        <Slide
          name="repetitionPenalty"
          label="Repetition penalty"
          hint="Makes words that were just used less likely."
          off={{ at: 1, says: "off" }}
        />
        <Whole
          name="maxTokens"
          label="Longest reply"
          hint="In tokens; a token is about three quarters of a word."
          none={-1}
        />
        <Whole
          name="seed"
          label="Seed"
          hint="The same seed, model and question give the same reply on any machine."
          none={null}
        />
        <div class="field check">
          <input
            id="set-probabilities"
            type="checkbox"
            checked={now.probabilities}
            aria-describedby="hint-probabilities"
            onChange={(event) => set("probabilities", event.currentTarget.checked)}
          />
          <div>
            <label for="set-probabilities">Keep token probabilities</label>
            <p class="hint" id="hint-probabilities">
              To look at what the model was thinking.
            </p>
          </div>
        </div>
        {model.value.info && <Inside info={model.value.info} />}
        <hr />
        <Whole
          name="threads"
          label="Threads"
          hint="How many cores the engine uses, where the page may use threads."
          none={0}
        />
        <Whole
          name="context"
          label="Context"
          hint={`How many tokens of a conversation the model sees${trained ? `; ${model.value.name} at most ${trained.toLocaleString("en")}` : ""}. More takes more memory.`}
          none={0}
          most={trained}
        />
        {stale && (
          <button type="button" class="button" onClick={() => void reload()}>
            Reload the model to apply
          </button>
        )}
        {suggests && (
          <button type="button" class="button" onClick={() => adopt(suggests)}>
            Sample as the model's authors suggest
          </button>
        )}
        <button type="button" class="button" onClick={() => change({ ...DEFAULTS, system: now.system })}>
          Reset sampling and engine
        </button>
      </form>
    </aside>
  );
}
