// "Darkroom is typing…"

import { h } from "./dom.js";
import { displayName, on, store } from "./store.js";

export function typingLine() {
  const node = h("div", { class: "typing", "aria-live": "polite" });
  const draw = () => {
    const now = Date.now();
    const typists = [...(store.typing.get(store.channelId) ?? [])].filter(([, until]) => until > now)
      .map(([id]) => store.users.get(id)).filter(Boolean).map((u) => displayName(u));
    const key = typists.join();
    if (node.dataset.key === key) return;
    node.dataset.key = key;
    node.replaceChildren(...(typists.length ? [h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      h("strong", {}, typists.join(", ")), typists.length === 1 ? " is typing…" : " are typing…"] : []));
  };
  for (const name of ["typing", "message", "channel"]) on(name, draw);
  setInterval(draw, 1000);
  return node;
}
