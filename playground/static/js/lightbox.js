// A picture, large. Arrows go through the others, Escape closes.

import { button, h, icon, sizeText } from "./dom.js";
import { layer } from "./layers.js";

const LARGEST = 4; // times its own size

export function openLightbox(pictures, start, from) {
  let index = start;
  const image = h("img", { class: "lightbox-image", alt: "" });
  const caption = h("div", { class: "lightbox-caption" });
  const original = h("a", { class: "lightbox-link", target: "_blank", rel: "noopener" }, icon("link", 16), "Open original");
  const previous = button("lightbox-arrow left", "Previous", () => show(index - 1), icon("left", 28));
  const next = button("lightbox-arrow right", "Next", () => show(index + 1), icon("right", 28));
  const close = button("lightbox-close icon-button", "Close", () => shut(), icon("close", 26));
  const box = h("div", { class: "lightbox", role: "dialog", "aria-modal": "true", "aria-label": "Picture" },
    close, pictures.length > 1 && previous, h("figure", {}, image, h("figcaption", {}, caption, original)),
    pictures.length > 1 && next);
  const show = (to) => {
    index = (to + pictures.length) % pictures.length;
    const picture = pictures[index];
    image.src = picture.url;
    image.alt = picture.description ?? "";
    image.style.maxWidth = picture.width ? `${LARGEST * picture.width}px` : "";
    original.href = picture.url;
    const place = pictures.length > 1 ? `${index + 1} of ${pictures.length}` : "";
    const measure = picture.width ? `${picture.width} × ${picture.height}` : "";
    const weight = picture.size ? sizeText(picture.size) : "";
    caption.textContent = [picture.filename, measure, weight, place].filter(Boolean).join(" · ");
  };
  box.addEventListener("click", (event) => {
    if (event.target === box || event.target.tagName === "FIGURE") shut();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(index - 1);
    if (event.key === "ArrowRight") show(index + 1);
  });
  show(start);
  const shut = layer(box, { focus: close, back: from });
}
