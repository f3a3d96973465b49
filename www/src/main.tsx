/** Where the page begins. */

import "./style/fonts.css";
import "./style/base.css";
import "./style/layout.css";
import "./style/chat.css";
import "./style/composer.css";
import "./style/prose.css";
import "./style/tokens.css";
import "./style/views.css";
import "./style/media.css";
import { render } from "preact";
import { App } from "./app";
import { begin } from "./model/loading";
import { install } from "./offline/install";
import { restoreChats } from "./state/chats";
import { followAddress } from "./ui/address";

// Workers are the only scripts this page makes by address, and they are its own.
window.trustedTypes?.createPolicy("default", {
  createScriptURL: (address) => {
    if (new URL(address, document.baseURI).origin !== location.origin)
      throw new TypeError("a script from elsewhere");
    return address;
  },
});

const root = document.getElementById("app");
if (root) render(<App />, root);
void restoreChats().then(followAddress);
await install();
await begin();
