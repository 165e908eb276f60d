// One field of a modal: `{node, check(), value(), focus(), ready()}`.

import * as api from "./api.js";
import { button, h, icon, sizeText } from "./dom.js";
import { selectBox } from "./select.js";
import { store } from "./store.js";

const TEXT = 4;
const FILES = 19;
const RADIO = 21;
const CHECKBOXES = 22;
const CHECKBOX = 23;
const PARAGRAPH = 2;

/** `part` is a row (type 1) around one input, or a label (type 18) around a component. */
export function modalField(part) {
  const inner = part.component ?? part.components[0];
  const label = part.label ?? inner.label ?? "";
  const id = `field-${inner.custom_id.replace(/\W/g, "_")}`;
  const make = { [TEXT]: textField, [FILES]: filesField, [RADIO]: choiceField, [CHECKBOXES]: choiceField, [CHECKBOX]: checkboxField }[inner.type] ?? selectField;
  const made = make(inner, id, label);
  const required = inner.required !== false && inner.type !== CHECKBOX;
  const error = h("span", { class: "modal-error", role: "alert" });
  const node = h("div", { class: "modal-field", dataset: { customId: inner.custom_id } },
    h("label", { class: "modal-label", for: id }, label, required && h("span", { class: "required", "aria-label": "required" }, "*")),
    part.description && h("div", { class: "modal-description" }, part.description),
    made.node, h("div", { class: "modal-below" }, error, made.counter));
  const check = () => {
    const problem = made.problem(required);
    error.textContent = problem ?? "";
    node.classList.toggle("bad", Boolean(problem));
    return !problem;
  };
  made.changed = () => node.classList.contains("bad") && check();
  return { node, check, focus: () => made.focus(), ready: async () => made.ready?.(), value: () => ({ type: inner.type, custom_id: inner.custom_id, ...made.value() }) };
}

function textField(inner, id) {
  const { min_length: low = 0, max_length: high = 4000 } = inner;
  const props = { id, class: "modal-input", placeholder: inner.placeholder, maxlength: high, value: inner.value ?? "", autocomplete: "off" };
  const input = inner.style === PARAGRAPH ? h("textarea", { ...props, rows: 4 }) : h("input", props);
  const counter = h("span", {});
  const made = {
    node: input,
    counter,
    focus: () => input.focus(),
    value: () => ({ value: input.value }),
    problem(required) {
      const length = input.value.length;
      if (!length) return required ? "This field is required" : null;
      return length < Math.max(low, 1) ? `Must be ${low} or more in length.` : null;
    },
  };
  const draw = () => {
    counter.textContent = high <= 4000 && (inner.max_length || input.value.length > 3000) ? `${input.value.length}/${high}` : "";
    made.changed?.();
  };
  input.addEventListener("input", draw);
  draw();
  return made;
}

function selectField(inner, id, label) {
  const made = {};
  const box = selectBox({ ...inner, min_values: inner.min_values ?? (inner.required === false ? 0 : 1) }, { id, onChange: () => made.changed?.() });
  box.setAttribute("aria-label", label);
  return Object.assign(made, {
    node: box,
    focus: () => box.focus(),
    value: () => ({ values: box.values() }),
    problem: (required) => range(inner, box.values().length, required),
  });
}

function range(inner, count, required) {
  const low = inner.min_values ?? 1;
  if (!count) return required ? "This field is required" : null;
  if (count < low) return `Choose at least ${low}.`;
  return null;
}

function filesField(inner, id) {
  const most = inner.max_values ?? 1;
  let files = [];
  const made = {};
  const input = h("input", { type: "file", hidden: true, multiple: most > 1 });
  const choose = h("button", { type: "button", id, class: "component-button secondary", on: { click: () => input.click() } }, "Choose a file");
  const list = h("div", { style: { display: "contents" } });
  const node = h("div", { class: "modal-files" }, icon("image", 28), "Drop a file here, or", choose, input, list);
  const draw = () => {
    list.replaceChildren(...files.map((file) => h("div", { class: "modal-file" }, icon("file", 18),
      h("span", {}, `${file.name} · ${file.error ?? (file.id ? sizeText(file.size) : "uploading…")}`),
      button("icon-button", `Remove ${file.name}`, () => {
        files = files.filter((f) => f !== file);
        draw();
      }, icon("close", 16)))));
    choose.disabled = files.length >= most;
    made.changed?.();
  };
  const add = (chosen) => {
    for (const one of [...chosen].slice(0, most - files.length)) {
      const file = { name: one.name, size: one.size };
      files.push(file);
      file.done = api.upload(store.user, store.channelId, one).then((kept) => {
        file.id = kept.id;
      }, (problem) => {
        file.error = problem.message;
      }).finally(draw);
    }
    draw();
  };
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  node.addEventListener("dragover", () => node.classList.add("over"));
  node.addEventListener("dragleave", () => node.classList.remove("over"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    node.classList.remove("over");
    add(event.dataTransfer.files);
  });
  return Object.assign(made, {
    node,
    focus: () => choose.focus(),
    ready: () => Promise.all(files.map((f) => f.done)),
    value: () => ({ values: files.map((f) => f.id) }),
    problem: (required) => files.find((f) => f.error)?.error ?? (files.some((f) => !f.id) ? "Still uploading" : range(inner, files.length, required)),
  });
}

function choiceField(inner, id) {
  const single = inner.type === RADIO;
  const made = {};
  const boxes = inner.options.map((option, index) => h("input", {
    type: single ? "radio" : "checkbox", name: id, id: index ? `${id}-${index}` : id, value: option.value, checked: option.default }));
  const node = h("div", { class: "modal-choices", role: single ? "radiogroup" : "group" }, inner.options.map((option, index) =>
    h("label", { class: "modal-choice" }, boxes[index], h("span", {}, option.label,
      option.description && h("div", { class: "modal-description" }, option.description)))));
  node.addEventListener("change", () => made.changed?.());
  const chosen = () => boxes.filter((b) => b.checked).map((b) => b.value);
  return Object.assign(made, {
    node,
    focus: () => boxes[0].focus(),
    value: () => (single ? { value: chosen()[0] ?? null } : { values: chosen() }),
    problem: (required) => range(inner, chosen().length, required) ??
      (chosen().length > (inner.max_values ?? boxes.length) ? `Choose at most ${inner.max_values}.` : null),
  });
}

function checkboxField(inner, id, label) {
  const box = h("input", { type: "checkbox", id, checked: inner.default });
  return { node: h("span", { class: "modal-choice" }, box, label), focus: () => box.focus(), value: () => ({ value: box.checked }), problem: () => null };
}
