// The files that go with the next message, each with its preview.

import { button, h, icon, sizeText } from "./dom.js";

const MOST = 10;

export function fileTray() {
  const node = h("ul", { class: "tray", hidden: true, "aria-label": "Files to send" });
  let files = [];
  const draw = () => {
    node.hidden = !files.length;
    node.replaceChildren(...files.map(card));
  };
  const card = (entry) => {
    const { file } = entry;
    const picture = entry.preview
      ? h("img", { src: entry.preview, alt: "", class: entry.spoiler ? "blurred" : null })
      : h("span", { class: "file-icon" }, icon("file", 36));
    return h("li", { class: "tray-card" }, picture, h("span", { class: "tray-name", title: file.name }, file.name),
      h("span", { class: "tray-size" }, sizeText(file.size)),
      h("span", { class: "tray-tools" },
        button(entry.spoiler ? "tool on" : "tool", "Spoiler", () => {
          entry.spoiler = !entry.spoiler;
          draw();
        }, icon("eye", 18)),
        button("tool", `Remove ${file.name}`, () => {
          files = files.filter((f) => f !== entry);
          draw();
        }, icon("trash", 18))));
  };
  return {
    node,
    get files() {
      return files;
    },
    add(list) {
      for (const file of list.slice(0, MOST - files.length)) {
        const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : null;
        files.push({ file, preview, spoiler: false, sent() {
          return this.spoiler ? new File([file], `SPOILER_${file.name}`, { type: file.type }) : file;
        } });
      }
      draw();
    },
    clear() {
      for (const { preview } of files) if (preview) URL.revokeObjectURL(preview);
      files = [];
      draw();
    },
  };
}
