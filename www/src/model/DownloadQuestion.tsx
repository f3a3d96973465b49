/** Asked before a large download, and before one from a host that only the address of the page named. */

import { bytes } from "../text/format";
import { Dialog } from "../ui/Dialog";
import { question } from "./loading";

export function DownloadQuestion() {
  const asked = question.value;
  if (!asked) return null;
  const { choice, host, answer } = asked;
  const size = choice.size === null ? "" : `, ${bytes(choice.size)}`;
  return (
    <Dialog title={`Fetch ${choice.name}?`} onClose={() => answer(false)}>
      <p>
        It comes from {host ?? "this page’s host"}
        {size}. It is kept in this browser, so it is fetched once.
      </p>
      <div class="answers">
        <button type="button" class="button" onClick={() => answer(false)}>
          Not now
        </button>
        <button type="button" class="button main" onClick={() => answer(true)}>
          Fetch{size && ` ${size.slice(2)}`}
        </button>
      </div>
    </Dialog>
  );
}
