// A select as Discord shows it, for messages and modals.

import { h, icon } from "./dom.js";
import { layer, placeBeside } from "./layers.js";
import { channelName, displayName, guild, store } from "./store.js";

let lists = 0;

/** What can be chosen: `{value, label, description?, emoji?, default?}`, for every kind of select. */
export function optionsOf(component) {
  const server = guild();
  const defaults = new Set((component.default_values ?? []).map((d) => d.id));
  const people = () => (server?.members.map((m) => m.user) ?? [store.me, store.application.bot]).map((user) => (
    { value: user.id, label: displayName(user), description: user.username }));
  const roles = () => (server?.roles ?? []).map((role) => ({ value: role.id, label: `@${role.name.replace(/^@/, "")}` }));
  const channels = () => (server?.channels ?? [])
    .filter((c) => !component.channel_types?.length || component.channel_types.includes(c.type))
    .map((c) => ({ value: c.id, label: `#${channelName(c)}` }));
  const lists = { 5: people, 6: roles, 7: () => [...people(), ...roles()], 8: channels };
  const found = lists[component.type]?.() ?? component.options ?? [];
  return found.map((o) => ({ ...o, default: o.default || defaults.has(o.value) }));
}

/**
 * `onChange(values)` when something was chosen: at once for a single choice, on closing for several.
 * The returned element has `values()` and `setValues(values)`.
 */
export function selectBox(component, { onChange = () => {}, disabled = false, id } = {}) {
  const options = optionsOf(component);
  const low = component.min_values ?? (component.required === false ? 0 : 1);
  const high = component.max_values ?? 1;
  let chosen = options.filter((o) => o.default).map((o) => o.value);
  const shown = h("span", { class: "select-shown" });
  const node = h("button", {
    type: "button", class: "select", role: "combobox", "aria-haspopup": "listbox", "aria-expanded": "false",
    "aria-label": component.placeholder || "Make a selection", disabled, id,
  }, shown, icon("down", 20));
  const draw = () => {
    const picked = options.filter((o) => chosen.includes(o.value));
    shown.replaceChildren(...(picked.length ? picked.map(tag) : [h("span", { class: "placeholder" }, component.placeholder || "Make a selection")]));
  };
  node.addEventListener("click", () => openList());
  node.values = () => chosen;
  node.setValues = (values) => {
    chosen = values;
    draw();
  };
  draw();

  function openList() {
    const before = chosen.join();
    const listId = `select-list-${lists++}`;
    const search = h("input", { class: "select-search", placeholder: "Search", "aria-label": "Search", autocomplete: "off",
      "aria-controls": listId, "aria-autocomplete": "list" });
    const list = h("div", { class: "select-list", role: "listbox", id: listId, "aria-multiselectable": String(high > 1) });
    const box = h("div", { class: "select-popup" }, search, list);
    const drawList = () => {
      const words = search.value.trim().toLowerCase().split(/\s+/);
      const fits = (o) => words.every((word) => `${o.label} ${o.description ?? ""}`.toLowerCase().includes(word));
      const found = options.filter(fits).map(row);
      list.replaceChildren(...(found.length ? found : [h("p", { class: "select-none" }, "Nothing of that name")]));
    };
    search.addEventListener("input", drawList);
    const row = (option) => {
      const picked = chosen.includes(option.value);
      return h("button", {
        type: "button", class: "select-option", role: "option", "aria-selected": String(picked),
        disabled: !picked && high > 1 && chosen.length >= high, on: { click: () => pick(option.value) },
      }, option.emoji?.name && h("span", { class: "emoji" }, option.emoji.name),
      h("span", { class: "select-text" }, h("span", {}, option.label),
        option.description && h("span", { class: "select-description" }, option.description)),
      high > 1 && h("span", { class: picked ? "tick on" : "tick" }, picked && icon("check", 14)));
    };
    const pick = (value) => {
      const had = chosen.includes(value);
      if (high > 1) {
        chosen = had ? chosen.filter((v) => v !== value) : [...chosen, value];
        draw();
        const at = [...list.children].indexOf(document.activeElement);
        drawList();
        list.children[at]?.focus();
      } else {
        chosen = had && low === 0 ? [] : [value];
        draw();
        close(true);
      }
    };
    box.addEventListener("keydown", (event) => {
      const rows = [...list.querySelectorAll("button:not(:disabled)")];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        const at = rows.indexOf(document.activeElement);
        // from the search, down is the first and up the last
        rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : (at + step + rows.length) % rows.length]?.focus();
      } else if (event.key === "Backspace" || (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey)) {
        // what is typed anywhere in it goes into the search
        if (document.activeElement !== search) search.focus();
      } else if (event.key === "Enter" && document.activeElement === search) {
        event.preventDefault();
        rows[0]?.click();
      } else if (event.key === "Tab") {
        event.preventDefault();
        close();
      }
    });
    drawList();
    node.setAttribute("aria-expanded", "true");
    box.style.minWidth = `${node.offsetWidth}px`;
    let picked = false;
    const shut = layer(box, {
      outside: true,
      back: node,
      onClose: () => {
        node.setAttribute("aria-expanded", "false");
        const changed = high > 1 ? chosen.join() !== before : picked;
        if (changed && chosen.length >= low && chosen.length <= high) onChange(chosen);
      },
    });
    function close(chose = false) {
      picked = chose;
      shut();
    }
    placeBeside(box, node);
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    search.focus({ preventScroll: true });
  }
  return node;
}

function tag(option) {
  return h("span", { class: "select-tag" }, option.emoji?.name && h("span", { class: "emoji" }, option.emoji.name), option.label);
}
