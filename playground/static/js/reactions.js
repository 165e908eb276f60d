// Reactions below a message: counts, one's own marked, a press toggles.

import * as api from "./api.js";
import { button, h, icon } from "./dom.js";
import { openEmojiPicker } from "./menus.js";
import { may, PERMISSION, store, tell } from "./store.js";

export function reactions(message) {
  const shown = message.reactions.map((r) => {
    const name = r.emoji.name;
    const label = `${name}, ${r.count} ${r.count === 1 ? "reaction" : "reactions"}${r.me ? ", including yours" : ""}`;
    return h("button", {
      type: "button", class: r.me ? "reaction mine" : "reaction", "aria-pressed": String(r.me), "aria-label": label,
      dataset: { emoji: name }, on: { click: () => toggle(message, name, r.me) },
    }, h("span", { class: "emoji" }, name), h("span", { class: "reaction-count" }, String(r.count)));
  });
  const more = may(PERMISSION.ADD_REACTIONS) &&
    button("reaction add-reaction", "Add reaction", (event) => addReaction(message, event.currentTarget), icon("smile", 18));
  return h("div", { class: "reactions" }, shown, more);
}

export async function toggle(message, emoji, mine) {
  const place = [store.user, message.channel_id, message.id, emoji];
  try {
    await (mine ? api.unreact(...place) : api.react(...place));
  } catch (error) {
    tell("problem", error.message);
  }
}

export function addReaction(message, anchor) {
  openEmojiPicker(anchor, (emoji) => {
    const mine = message.reactions?.some((r) => r.emoji.name === emoji && r.me);
    if (!mine) toggle(message, emoji, false);
  });
}
