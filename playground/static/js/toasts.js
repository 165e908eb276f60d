// One sentence at the bottom for a few seconds.

import { h } from "./dom.js";
import { on } from "./store.js";

export function toasts() {
  const node = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
  const show = (text, kind) => {
    const toast = h("div", { class: `toast ${kind}` }, text);
    node.append(toast);
    setTimeout(() => toast.remove(), kind === "problem" ? 6000 : 2000);
  };
  on("problem", (text) => show(text, "problem"));
  on("notice", (text) => show(text, "notice"));
  return node;
}
