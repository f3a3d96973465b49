/** What the keyboard can do, shown by `?`. */

import { Dialog } from "./Dialog";
import { keysOpen } from "./route";

const KEYS: [keys: string[], what: string][] = [
  [["Enter"], "Send"],
  [["Shift", "Enter"], "Break the line"],
  [["↑"], "Edit the last question, in an empty message"],
  [["Esc"], "Stop the answer; close what is open"],
  [["/"], "Write a message"],
  [["Ctrl", "K"], "Find a conversation or an action"],
  [["Ctrl", "Shift", "O"], "New chat"],
  [["←", "→"], "Move through the tokens of an answer, where they are shown"],
  [["?"], "This list"],
];

export function Keys() {
  return (
    <Dialog title="Keys" class="keylist" onClose={() => (keysOpen.value = false)}>
      <dl>
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
