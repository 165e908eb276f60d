// Embeds: the card with a bar of colour.

import { gallery } from "./attachments.js";
import { h } from "./dom.js";
import { format, inlineMarkdown, markdown } from "./markdown.js";

export const color = (number) => `#${number.toString(16).padStart(6, "0")}`;

/** Embeds with the same link are one, with up to four pictures: so Discord's clients show them. */
export function grouped(list) {
  const shown = [];
  for (const data of list) {
    const first = data.url && data.image?.url && shown.find((e) => e.url === data.url && e.images.length);
    if (first && first.images.length < 4) first.images.push(data.image);
    else if (!first) shown.push({ ...data, images: data.image?.url ? [data.image] : [] });
  }
  return shown;
}

export function embed(data) {
  const { images = data.image?.url ? [data.image] : [] } = data;
  const { author, title, description, fields = [], thumbnail, footer } = data;
  const inside = [];
  if (author?.name) {
    inside.push(h("div", { class: "embed-author" },
      author.icon_url && h("img", { src: author.icon_url, alt: "", width: 24, height: 24 }),
      link(author.url, [author.name])));
  }
  if (title) inside.push(h("div", { class: "embed-title" }, link(data.url, inlineMarkdown(title))));
  if (description) inside.push(h("div", { class: "embed-description" }, markdown(description)));
  if (fields.length) inside.push(h("div", { class: "embed-fields" }, fields.map(field)));
  if (images.length) inside.push(gallery(images));
  if (footer?.text || data.timestamp) inside.push(bottom(footer, data.timestamp));
  const node = h("article", { class: "embed" },
    h("div", { class: "embed-main" }, inside),
    thumbnail?.url && h("img", { class: "embed-thumbnail", src: thumbnail.url, alt: "" }));
  if (data.color) node.style.borderLeftColor = color(data.color);
  return node;
}

function link(url, content) {
  if (!/^https?:\/\//.test(url ?? "")) return h("span", {}, content);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, content);
}

function field({ name, value, inline }) {
  return h("div", { class: inline ? "embed-field inline" : "embed-field" },
    h("div", { class: "embed-field-name" }, inlineMarkdown(name)), markdown(value));
}

function bottom(footer, time) {
  const text = [footer?.text, time && format(new Date(time), "f")].filter(Boolean).join(" • ");
  return h("div", { class: "embed-footer" },
    footer?.icon_url && h("img", { src: footer.icon_url, alt: "", width: 20, height: 20 }), text);
}
