// Message components: rows of buttons and selects, and the layouts of components V2.

import { fileCard, gallery } from "./attachments.js";
import { h, icon } from "./dom.js";
import { color } from "./embeds.js";
import { markdown } from "./markdown.js";
import { selectBox } from "./select.js";
import { act, store, tell } from "./store.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link", 6: "secondary" };

const MAKERS = {
  1: (part, message) => h("div", { class: "component-row" }, part.components.map((c) => component(c, message))),
  2: button,
  3: select,
  5: select,
  6: select,
  7: select,
  8: select,
  9: section,
  10: (part) => markdown(part.content),
  11: (part) => h("img", { class: "v2-thumbnail", src: part.media.url, alt: part.description ?? "" }),
  12: (part) => gallery(part.items.map((item) => ({
    ...item.media, description: item.description, hidden: item.spoiler, filename: nameOf(item.media.url) }))),
  13: (part, message) => file(part, message),
  14: (part) => h("hr", { class: `v2-separator${part.spacing === 2 ? " large" : ""}${part.divider === false ? " invisible" : ""}` }),
  17: container,
};

export function components(list, message) {
  return h("div", { class: "components" }, list.map((c) => component(c, message)));
}

function component(part, message) {
  const make = MAKERS[part.type];
  return make ? make(part, message) : h("div", { class: "unknown-part" }, `Component of type ${part.type}`);
}

/** What the person did with the component and is not answered. */
export function pendingOf(message, customId) {
  return [...store.pending.values()].find(
    (p) => p.messageId === message.id && (customId === undefined || p.customId === customId) && !p.failed);
}

export function failureOf(message) {
  return [...store.pending.values()].find((p) => p.messageId === message.id && p.failed)?.failed;
}

async function use(message, part, values) {
  for (const [nonce, pending] of store.pending) {
    if (pending.messageId === message.id && pending.failed) store.pending.delete(nonce);
  }
  const body = { type: 3, message: message.id, channel: message.channel_id, custom_id: part.custom_id };
  if (values) body.values = values;
  try {
    await act(body, { messageId: message.id, customId: part.custom_id });
  } catch (error) {
    tell("problem", error.message);
  }
}

function button(part, message) {
  const content = [
    part.emoji?.name && h("span", { class: "emoji" }, part.emoji.name),
    part.label && h("span", {}, part.label),
  ];
  const style = `component-button ${STYLES[part.style] ?? "secondary"}`;
  if (part.style === 5) {
    if (part.disabled) return h("button", { type: "button", class: style, disabled: true }, content, icon("link", 16));
    return h("a", { class: style, href: part.url, target: "_blank", rel: "noopener noreferrer" }, content, icon("link", 16));
  }
  const waits = pendingOf(message, part.custom_id);
  const node = h("button", {
    type: "button", class: waits ? `${style} loading` : style, disabled: part.disabled,
    // not `disabled`, which would lose the focus
    "aria-disabled": waits ? "true" : null, "aria-busy": waits ? "true" : null, "aria-label": part.label ? null : (part.emoji?.name ?? "Button"),
    dataset: { customId: part.custom_id ?? "" },
    on: { click: () => waits || use(message, part) },
  }, h("span", { class: "button-content" }, content));
  if (waits) node.append(h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")));
  return node;
}

function select(part, message) {
  const waits = Boolean(pendingOf(message, part.custom_id));
  const node = selectBox(part, {
    disabled: part.disabled || waits, onChange: (values) => use(message, part, values) });
  node.dataset.customId = part.custom_id;
  if (waits) node.classList.add("loading");
  return h("div", { class: "select-holder" }, node);
}

function section(part, message) {
  return h("div", { class: "v2-section" },
    h("div", { class: "v2-section-text" }, part.components.map((c) => component(c, message))),
    part.accessory && component(part.accessory, message));
}

function container(part, message) {
  const node = h("div", { class: "v2-container" }, part.components.map((c) => component(c, message)));
  if (part.accent_color !== null && part.accent_color !== undefined) {
    node.classList.add("accented");
    node.style.borderLeftColor = color(part.accent_color);
  }
  if (part.spoiler) hide(node);
  return node;
}

function file(part, message) {
  const name = part.name ?? nameOf(part.file.url);
  const size = part.size ?? message.attachments.find((a) => a.url === part.file.url)?.size ?? 0;
  const node = fileCard({ filename: name, url: part.file.url, size });
  if (part.spoiler) hide(node);
  return node;
}

function hide(node) {
  node.classList.add("v2-hidden");
  const show = h("button", { type: "button", class: "v2-show", on: { click: () => {
    node.classList.remove("v2-hidden");
    show.remove();
  } } }, "SPOILER");
  node.append(show);
}

const nameOf = (url) => {
  try {
    return decodeURIComponent(new URL(url).pathname.split("/").at(-1));
  } catch {
    return "file";
  }
};
