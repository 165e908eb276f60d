// One option of a command in the composer: its name and the field for its value.

import * as api from "./api.js";
import { localized, TYPE } from "./commands.js";
import { h, icon, sizeText } from "./dom.js";
import { store } from "./store.js";
import { valueOf } from "./values.js";

/**
 * `{node, option, text, picked, file, focus(), check(), set(text, picked?), attach(file)}`;
 * tells its editor `onInput`, `onFocus`, `onBlur`, `onKey`.
 */
export function optionPill(option, handlers) {
  const takesFile = option.type === TYPE.ATTACHMENT;
  let field = null;
  const pill = {
    option,
    name: localized(option, "name"),
    picked: null,
    file: null,
    touched: false,
    get text() {
      return takesFile ? "" : field.textContent.replace(/[\n\u00a0\u200b]/g, " ");
    },
    get empty() {
      return takesFile ? !pill.file : !field.textContent;
    },
    focus(atStart = false) {
      field.focus();
      if (!takesFile) caret(field, atStart);
    },
    set(text, picked = null) {
      field.textContent = text;
      pill.picked = picked;
    },
    /** What is wrong with it, shown in red once `touched`. */
    check() {
      const result = valueOf(option, pill);
      const bad = pill.touched && Boolean(result.error);
      pill.node.classList.toggle("bad", bad);
      field.setAttribute("aria-invalid", String(bad));
      pill.node.title = bad ? result.error : "";
      return result;
    },
    attach: (file) => attach(pill, file, handlers),
  };
  field = takesFile ? fileField(pill, handlers) : textField(pill, handlers);
  pill.field = field;
  const node = h("span", { class: "pill", dataset: { option: option.name } },
    h("span", { class: "pill-name", "aria-hidden": "true" }, pill.name), field);
  pill.node = node;
  node.addEventListener("mousedown", (event) => {
    if (event.target === field || field.contains(event.target)) return;
    event.preventDefault();
    pill.focus();
  });
  return pill;
}

function textField(pill, handlers) {
  const label = pill.option.required ? `${pill.name}, required` : pill.name;
  const field = h("span", {
    class: "pill-value", contenteditable: "plaintext-only", role: "combobox", "aria-autocomplete": "list",
    "aria-expanded": "false", "aria-label": label, spellcheck: "false", tabindex: "0", autocapitalize: "off",
  });
  if (field.contentEditable !== "plaintext-only") field.contentEditable = "true";
  field.addEventListener("input", () => {
    if (pill.picked?.name !== pill.text.trim()) pill.picked = null;
    handlers.onInput(pill);
  });
  field.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) return; // the composer takes files
    event.preventDefault();
    insert(field, event.clipboardData.getData("text/plain").replace(/\s*\n\s*/g, " "));
    handlers.onInput(pill);
  });
  listen(field, pill, handlers);
  return field;
}

function fileField(pill, handlers) {
  const input = h("input", { type: "file", hidden: true, on: {
    change: () => input.files[0] && attach(pill, input.files[0], handlers), } });
  const shown = h("span", { class: "pill-file" });
  const field = h("button", { type: "button", class: "pill-value file", "aria-label": `${pill.name}: choose a file`,
    on: { click: () => input.click() } }, shown, input);
  pill.draw = () => {
    const { file } = pill;
    shown.replaceChildren(icon(file ? "file" : "plus", 16), file ? file.name : "Choose a file");
    if (file?.preview) shown.prepend(h("img", { src: file.preview, alt: "", class: "pill-preview" }));
    field.classList.toggle("uploading", Boolean(file && !file.id && !file.error));
  };
  pill.draw();
  listen(field, pill, handlers);
  return field;
}

function listen(field, pill, handlers) {
  field.addEventListener("focus", () => handlers.onFocus(pill));
  field.addEventListener("blur", () => {
    if (!field.isConnected) return;
    pill.touched = true;
    pill.check();
    handlers.onBlur(pill);
  });
  field.addEventListener("keydown", (event) => handlers.onKey(event, pill));
}

async function attach(pill, chosen, handlers) {
  const file = { name: chosen.name, size: sizeText(chosen.size) };
  if (chosen.type.startsWith("image/")) file.preview = URL.createObjectURL(chosen);
  pill.file = file;
  pill.draw();
  try {
    file.id = (await api.upload(store.user, store.channelId, chosen)).id;
  } catch (error) {
    file.error = error.message;
  }
  if (pill.file !== file) return;
  pill.touched = true;
  pill.draw();
  pill.check();
  handlers.onInput(pill);
}

/** Whether the caret stands at that end of the field. */
export function caretAt(field, end) {
  const selection = getSelection();
  if (!field.textContent) return true;
  if (!selection.isCollapsed || !field.contains(selection.anchorNode)) return false;
  const range = document.createRange();
  range.selectNodeContents(field);
  if (end === "start") range.setEnd(selection.anchorNode, selection.anchorOffset);
  else range.setStart(selection.anchorNode, selection.anchorOffset);
  return range.toString() === "";
}

export function caret(field, atStart = false) {
  const range = document.createRange();
  range.selectNodeContents(field);
  range.collapse(atStart);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

function insert(field, text) {
  const selection = getSelection();
  const range = selection.getRangeAt(0);
  range.deleteContents();
  range.insertNode(document.createTextNode(text));
  range.collapse(false);
  field.normalize();
}
