// Pictures as a gallery, everything else as a card.

import { h, icon, sizeText } from "./dom.js";
import { openLightbox } from "./lightbox.js";

const SPOILER_FLAG = 1 << 3;
export const isPicture = (a) =>
  /^image\/(png|jpe?g|gif|webp|avif|bmp)/.test(a.content_type ?? "") || (!a.content_type && /\.(png|jpe?g|gif|webp)$/i.test(a.filename ?? ""));
const isHidden = (a) => a.filename?.startsWith("SPOILER_") || Boolean((a.flags ?? 0) & SPOILER_FLAG);

export function attachments(list) {
  const pictures = list.filter(isPicture);
  const files = list.filter((a) => !isPicture(a));
  const made = [];
  if (pictures.length) made.push(gallery(pictures.map((a) => ({ ...a, hidden: isHidden(a) }))));
  made.push(...files.map(fileCard));
  return made;
}

/**
 * One to ten pictures: `{url, width, height, description, hidden, filename}`.
 * One keeps its shape; several are cut to a mosaic as Discord cuts them.
 */
export function gallery(pictures) {
  const shown = pictures.slice(0, 10);
  const cells = shown.map((picture, index) => cell(picture, shown, index));
  return h("div", { class: `gallery gallery-${shown.length}`, role: "group", "aria-label": count(shown.length) }, cells);
}

const count = (n) => (n === 1 ? "1 picture" : `${n} pictures`);

function cell(picture, all, index) {
  const label = picture.description || picture.filename || "Picture";
  const image = h("img", {
    src: picture.url, alt: picture.description ?? "", width: picture.width, height: picture.height,
    loading: "eager", decoding: "async", draggable: "false",
  });
  const node = h("button", { type: "button", class: "picture", "aria-label": label, title: picture.description },
    image);
  if (all.length === 1) fit(node, picture);
  if (picture.hidden) {
    node.classList.add("hidden-picture");
    node.setAttribute("aria-label", `Spoiler: ${label}`);
    node.append(h("span", { class: "spoiler-badge" }, "SPOILER"));
  }
  image.addEventListener("error", () => node.classList.add("broken"));
  node.addEventListener("click", () => {
    if (node.classList.contains("hidden-picture")) {
      node.classList.remove("hidden-picture");
      node.setAttribute("aria-label", label);
      node.querySelector(".spoiler-badge")?.remove();
      return;
    }
    openLightbox(all, index, node);
  });
  return node;
}

/** The size on the page of a single picture, known before it is loaded. */
function fit(node, { width, height }) {
  if (!width || !height) return;
  const scale = Math.min(1, 550 / width, 400 / height);
  node.style.width = `${Math.max(64, Math.round(width * scale))}px`;
  node.style.aspectRatio = `${width} / ${height}`;
}

export function fileCard(file) {
  return h("div", { class: "file-card" },
    h("span", { class: "file-icon" }, icon("file", 28)),
    h("div", { class: "file-text" },
      h("a", { href: file.url, class: "file-name", target: "_blank", rel: "noopener" }, file.filename),
      h("div", { class: "file-size" }, sizeText(file.size ?? 0))),
    h("a", { href: file.url, class: "icon-button", download: file.filename, "aria-label": `Download ${file.filename}`, title: "Download" },
      icon("download")));
}
