/** The studio's page. */

import { identity } from "../src/arguments.ts";
import { connect } from "./controls.ts";
import { Studio } from "./studio.ts";

const studio = new Studio();
connect(studio);
studio.panel.show({ arguments: identity(), strength: 1 }, null);
studio.panel.disabled = true;
void studio.inTurn(() => studio.start());

// Only where a service worker may be: on https, and on this machine.
if ("serviceWorker" in navigator && isSecureContext) {
  navigator.serviceWorker.register(new URL("sw.js", document.baseURI), { scope: "./" }).catch(() => {
    // Without it the page works as long as its server is reached.
  });
}
