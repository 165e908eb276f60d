// The list above the composer: commands, options, choices. The focus stays where one types.

import { h } from "./dom.js";

let ids = 0;

export function suggestions() {
  const listId = `suggestions-${ids++}`;
  const head = h("div", { class: "suggest-head" });
  const list = h("div", { class: "suggest-list", role: "listbox", id: listId, "aria-label": "Suggestions" });
  const node = h("div", { class: "suggest", hidden: true }, head, list);
  let rows = [];
  let active = -1;
  let onPick = () => {};
  let input = null;

  const mark = (index, scroll = true) => {
    active = index;
    [...list.querySelectorAll("[role=option]")].forEach((child, i) => {
      child.setAttribute("aria-selected", String(i === index));
      if (i === index && scroll) child.scrollIntoView({ block: "nearest" });
    });
    if (input) {
      if (index >= 0) input.setAttribute("aria-activedescendant", `${listId}-${index}`);
      else input.removeAttribute("aria-activedescendant");
    }
  };

  return {
    node,
    get open() {
      return !node.hidden && rows.length > 0;
    },
    get active() {
      return active;
    },
    /**
     * `title` (nodes) above; `rows`: `{label, description?, hint?, icon?, ...}`; the first is active
     * unless `start` says otherwise. `note` stands in for rows that are not there (yet).
     */
    show({ title = null, rows: shown = [], note = "", start = 0, pick = () => {}, field = null }) {
      rows = shown;
      onPick = pick;
      node.classList.remove("stale");
      if (input !== field) input?.removeAttribute("aria-activedescendant");
      input = field;
      head.replaceChildren(...[title].flat().filter(Boolean));
      head.hidden = !title;
      list.replaceChildren(...rows.map(row), ...(note ? [h("div", { class: "suggest-note" }, note)] : []));
      list.hidden = !rows.length && !note;
      node.hidden = !title && !rows.length && !note;
      field?.setAttribute("aria-controls", listId);
      field?.setAttribute("aria-expanded", String(rows.length > 0));
      list.scrollTop = 0;
      mark(Math.min(start, rows.length - 1));
    },
    /** What is shown belongs to what was typed before; new rows are on their way. */
    stale(title) {
      head.replaceChildren(...[title].flat().filter(Boolean));
      node.classList.add("stale");
      mark(-1);
    },
    hide() {
      node.hidden = true;
      rows = [];
      list.replaceChildren();
      input?.setAttribute("aria-expanded", "false");
      mark(-1);
    },
    move(step) {
      if (!rows.length) return;
      mark(active < 0 ? (step > 0 ? 0 : rows.length - 1) : (active + step + rows.length) % rows.length);
    },
    /** Choose the active row; false when there is none. */
    pick() {
      if (node.hidden || active < 0) return false;
      onPick(rows[active]);
      return true;
    },
  };

  function row(data, index) {
    return h("div", {
      class: "suggest-row", role: "option", id: `${listId}-${index}`, "aria-selected": "false",
      on: {
        pointermove: () => active !== index && mark(index, false),
        // pointerdown, so that the field being typed into keeps the focus
        pointerdown: (event) => {
          event.preventDefault();
          onPick(data);
        },
      },
    }, data.icon, h("div", { class: "suggest-text" }, h("div", { class: "suggest-label" }, data.label),
      data.description && h("div", { class: "suggest-description" }, data.description)),
    data.hint && h("span", { class: "suggest-hint" }, data.hint));
  }
}
