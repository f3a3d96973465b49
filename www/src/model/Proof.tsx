/** One button that shows what this machine computes, to be held against any other. */

import { useState } from "preact/hooks";
import { CopyButton } from "../ui/CopyButton";
import { ErrorNotice } from "../ui/ErrorNotice";
import { engine, type Failure, failureOf, whileUsed } from "./loading";

type State = { fingerprint: string } | { trouble: Failure } | "working" | null;

export function Proof() {
  const [state, setState] = useState<State>(null);
  const compute = async () => {
    const running = engine.value;
    if (!running) return;
    setState("working");
    try {
      setState({ fingerprint: await whileUsed(running, running.fingerprint()) });
    } catch (error) {
      setState({ trouble: failureOf(error) });
    }
  };
  const fingerprint =
    state !== null && typeof state === "object" && "fingerprint" in state ? state.fingerprint : "";
  return (
    <>
      <h3>Proof</h3>
      <p class="note">
        The same question, settings and seed give the same words on every machine. The fingerprint is a hash
        of all that this model computes for a fixed prompt, to the last bit:{" "}
        <code>ternlight fingerprint</code> prints the same one anywhere.
      </p>
      <div class="proof">
        {fingerprint ? (
          <>
            <output aria-label="Fingerprint">{fingerprint.match(/.{8}/g)?.join(" ")}</output>
            <CopyButton text={fingerprint} label="Copy the fingerprint" />
          </>
        ) : (
          <button type="button" class="button" disabled={state === "working"} onClick={() => void compute()}>
            {state === "working" ? "Computing…" : "Compute the fingerprint"}
          </button>
        )}
      </div>
      {state !== null && typeof state === "object" && "trouble" in state && (
        <ErrorNotice code={state.trouble.code} message={state.trouble.message} />
      )}
    </>
  );
}
