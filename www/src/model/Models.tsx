/** Choosing a model: what the page offers, what this browser keeps, and anything else by address or from the disk. */

import { useEffect, useState } from "preact/hooks";
import { bytes, speed as perSecond } from "../text/format";
import { Dialog } from "../ui/Dialog";
import { Glyph } from "../ui/icons";
import { notify } from "../ui/Notice";
import { modelsOpen } from "../ui/route";
import { cachedModels, forget, refreshCachedModels, room } from "./cachedModels";
import { addressOf, OFFERS, offered } from "./catalogue";
import { fitOf, memoryHere } from "./fits";
import { loadFile, loadSource, model } from "./loading";

const close = () => (modelsOpen.value = false);

function Load({ source, name }: { source: string; name: string }) {
  const { source: now, state } = model.value;
  if (now === source && state === "ready") return <span class="hint">In use</span>;
  return (
    <button
      type="button"
      class="button"
      aria-label={`Load ${name}`}
      onClick={() => {
        close();
        void loadSource(source);
      }}
    >
      Load
    </button>
  );
}

/** What it needs and does on this machine. */
function Fits({ name, size }: { name: string; size: number }) {
  const { memory, against, speed } = fitOf(name, size, memoryHere());
  return (
    <p class="note figures">
      Needs about {bytes(memory)} of memory
      {against && <strong>, {against}</strong>}
      {speed &&
        (speed.measured
          ? `; wrote ${perSecond(speed.tokensPerSecond)} tok/s here`
          : `; about ${perSecond(speed.tokensPerSecond)} tok/s here, judging by other models`)}
    </p>
  );
}

function CachedModels() {
  const all = cachedModels.value;
  useEffect(() => void refreshCachedModels(), []);
  if (all === null)
    return (
      <p class="hint">
        This browser gives the page no room to keep models, so each visit fetches them again.
      </p>
    );
  if (all.length === 0)
    return (
      <p class="hint">None yet. A model is kept here as it arrives, and then loads without a connection.</p>
    );
  const sum = all.reduce((total, one) => total + one.bytes, 0);
  return (
    <>
      <ul class="rows">
        {all.map((one) => {
          const offer = OFFERS.find(({ source }) => addressOf(source) === one.address);
          const source = offer?.source ?? one.address;
          const { name } = offered(source);
          return (
            <li key={one.address}>
              <div class="what">
                <p class="name">{name}</p>
                <p class="note figures">
                  {bytes(one.bytes)}
                  {!one.complete && one.total ? ` of ${bytes(one.total)}, unfinished` : ""}
                </p>
              </div>
              <Load source={source} name={name} />
              <button
                type="button"
                class="icon"
                aria-label={`Delete ${name} from this browser`}
                title="Delete from this browser"
                onClick={async () => {
                  await forget(one);
                  notify(`Deleted ${name}, ${bytes(one.bytes)} freed`);
                }}
              >
                <Glyph name="bin" />
              </button>
            </li>
          );
        })}
      </ul>
      <p class="total figures">
        {bytes(sum)} in all{room.value !== null && `; the browser gives this page up to ${bytes(room.value)}`}
      </p>
    </>
  );
}

function valid(text: string): boolean {
  if (/^hf:[\w.-]+\/[\w.@-]+(?:\/.+)?$/.test(text)) return true;
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function Elsewhere() {
  const [address, setAddress] = useState("");
  const [wrong, setWrong] = useState(false);
  const submit = () => {
    const text = address.trim();
    if (!valid(text)) {
      setWrong(true);
      return;
    }
    close();
    void loadSource(text);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div class="from">
        <input
          type="text"
          inputMode="url"
          autocomplete="off"
          spellcheck={false}
          aria-label="Address of a model"
          aria-invalid={wrong}
          aria-describedby="address-hint"
          placeholder="https://… or hf:owner/repo/file.gguf"
          value={address}
          onInput={(event) => {
            setAddress(event.currentTarget.value);
            setWrong(false);
          }}
        />
        <button type="submit" class="button">
          Load
        </button>
        <label class="button">
          <Glyph name="file" /> From disk
          <input
            type="file"
            class="unseen"
            multiple
            accept=".gguf,.safetensors,.json"
            onChange={(event) => {
              const files = [...(event.currentTarget.files ?? [])];
              if (files.length === 0) return;
              close();
              void loadFile(files);
            }}
          />
        </label>
      </div>
      <p class="hint" id="address-hint" role={wrong ? "alert" : undefined}>
        {wrong
          ? "That is neither a web address nor of the form hf:owner/repo/file."
          : "GGUF, or the files of a Hugging Face folder. Files can also be dropped anywhere on the page. They stay on this machine."}
      </p>
    </form>
  );
}

export function Models() {
  return (
    <Dialog title="Models" class="models" onClose={close}>
      <div class="sections">
        <section>
          <ul class="rows">
            {OFFERS.map((offer) => (
              <li key={offer.source}>
                <div class="what">
                  <p class="name">{offer.name}</p>
                  <p class="note">
                    {offer.size !== null && <span class="figures">{bytes(offer.size)}. </span>}
                    {offer.note}
                  </p>
                  {offer.size !== null && <Fits name={offer.name} size={offer.size} />}
                </div>
                <Load source={offer.source} name={offer.name} />
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h3>Another model</h3>
          <Elsewhere />
        </section>
        <section>
          <h3>Kept in this browser</h3>
          <CachedModels />
        </section>
      </div>
    </Dialog>
  );
}
