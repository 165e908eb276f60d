// Menus that float: actions, choices, emoji.

import { h } from "./dom.js";
import { layer, placeBeside } from "./layers.js";

/**
 * A menu of `{label, action, icon?, danger?, hint?}` (null is a line) beside an element or point.
 * Arrows move, Enter chooses, Escape closes.
 */
export function openMenu(anchor, items, { label = "Actions", prefer = "below" } = {}) {
  const node = h("div", { class: "menu", role: "menu", "aria-label": label });
  const shut = () => close();
  for (const item of items) {
    if (!item) {
      node.append(h("div", { class: "menu-line", role: "separator" }));
    } else if (!item.action) {
      node.append(h("div", { class: "menu-head" }, item.label));
    } else {
      const act = () => {
        shut();
        item.action();
      };
      node.append(h("button", { type: "button", role: "menuitem", class: item.danger ? "menu-item danger" : "menu-item", on: { click: act } },
        h("span", { class: "menu-label" }, item.label), item.hint && h("span", { class: "menu-hint" }, item.hint), item.icon));
    }
  }
  node.addEventListener("keydown", (event) => {
    const buttons = [...node.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      buttons[(at + step + buttons.length) % buttons.length]?.focus();
    }
    if (event.key === "Tab") {
      event.preventDefault();
      shut();
    }
  });
  const back = anchor instanceof Element ? anchor : document.activeElement;
  const close = layer(node, { outside: true, back });
  placeBeside(node, anchor, prefer);
  node.querySelector("button")?.focus({ preventScroll: true });
  return close;
}

/** Each with the words by which it is found. */
const EMOJI = `🔁 repeat again reroll;1️⃣ one 1;2️⃣ two 2;3️⃣ three 3;4️⃣ four 4;🔍 magnifier search upscale zoom;✏️ pencil edit
📋 clipboard copy details;⭐ star favourite favorite;❌ cross x no delete;⛔ no entry stop cancel;❤️ red heart love;👍 thumbs up yes +1
👎 thumbs down no -1;😀 grin smile happy;😂 joy laugh tears;😍 heart eyes love;🤔 thinking hmm;😮 wow open mouth;😢 cry sad;😡 angry mad
🎉 party tada celebrate;🔥 fire hot lit;👀 eyes look see;🙏 pray thanks please;👏 clap applause;✅ check done yes ok;❓ question
❗ exclamation warning;💯 hundred 100;🎨 art palette paint;🖼️ picture frame image;📷 camera photo;🌱 seedling seed plant;🎲 die dice random
🔀 shuffle vary mix;⬆️ up arrow larger;⬇️ down arrow;⬅️ left arrow;➡️ right arrow;↩️ back reply;🗑️ bin trash delete;💡 bulb idea light
🔒 lock private;🔞 adult nsfw 18;🚫 forbidden ban;⏳ hourglass wait;⚡ lightning fast;✨ sparkles new;🚀 rocket;🐱 cat;🐶 dog;🦊 fox;🌊 wave sea
🌙 moon night;☀️ sun day;🍀 clover luck;5️⃣ five 5;6️⃣ six 6;7️⃣ seven 7;8️⃣ eight 8;9️⃣ nine 9;🔟 ten 10`
  .split(/[;\n]/).map((line) => {
    const [emoji, ...words] = line.split(" ");
    return { emoji, words: words.join(" ") };
  });
const IS_EMOJI = /^(\p{Extended_Pictographic}|\p{Regional_Indicator}|[0-9#*]\uFE0F?\u20E3)/u;

export function openEmojiPicker(anchor, choose) {
  const node = h("div", { class: "emoji-picker", role: "dialog", "aria-label": "Add a reaction" });
  const own = h("input", { class: "emoji-own", placeholder: "Search, or paste any emoji", "aria-label": "Search emoji", autocomplete: "off", maxlength: 32 });
  const grid = h("div", { class: "emoji-grid" });
  const take = (emoji) => {
    close();
    choose(emoji);
  };
  const cell = ({ emoji, words }) => h("button", {
    type: "button", class: "emoji-button", "aria-label": emoji, title: words, on: { click: () => take(emoji) } }, emoji);
  const draw = () => {
    const typed = own.value.trim().toLowerCase();
    const found = EMOJI.filter(({ emoji, words }) => !typed || words.includes(typed) || emoji === typed);
    const pasted = IS_EMOJI.test(typed) && !found.length ? [{ emoji: own.value.trim(), words: "" }] : [];
    const cells = [...pasted, ...found].map(cell);
    grid.replaceChildren(...(cells.length ? cells : [h("p", { class: "emoji-none" }, "No emoji of that name here")]));
  };
  own.addEventListener("input", draw);
  own.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    grid.querySelector("button")?.click();
  });
  draw();
  node.append(own, grid);
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 }[event.key];
    const buttons = [...node.querySelectorAll(".emoji-button")];
    const at = buttons.indexOf(document.activeElement);
    if (document.activeElement === own && event.key === "ArrowDown") buttons[0]?.focus();
    if (!step || at < 0) return;
    event.preventDefault();
    (buttons[at + step] ?? (step < 0 ? own : null))?.focus();
  });
  const close = layer(node, { outside: true, back: anchor });
  placeBeside(node, anchor, "left");
  own.focus({ preventScroll: true });
}
