// A command being filled in: its name and the options as pills, and a tail where more are typed.

import { localized, nested, splitTyped, TYPE } from "./commands.js";
import { h, icon } from "./dom.js";
import { caretAt, optionPill } from "./pill.js";
import { act, on, store } from "./store.js";
import { choicesOf, fitting } from "./values.js";

const AUTOCOMPLETE_AFTER = 150; // ms without a key
const IDLE = { onInput() {}, onFocus() {}, onBlur() {}, onKey() {} };
let current = IDLE;

on("settled", ({ pending, how, data }) => current.answered?.(pending, how, data));

/**
 * `suggest`: the list above; `onLeave(text)`: back to plain text; `onSent(sent)`, what `restore`
 * takes; `onRefused(reason)`: it can come back with `resume`; `onRecall(step)`: an earlier or later command is wanted.
 * The element is `node`; `focus()`, `attach(files)`, `fill(text)`, `send()`.
 */
export function commandEditor(entry, { suggest, onLeave, onSent, onRefused, onRecall }) {
  const pills = [];
  let focused = null; // a pill, or "tail"
  let offered = null; // the pill whose autocompletion is shown
  let timer = 0;
  let asked = 0; // counts what was asked of autocomplete: only the last answer is shown

  const tail = h("span", { class: "tail", contenteditable: "plaintext-only", role: "combobox", "aria-label": "More options",
    "aria-expanded": "false", spellcheck: "false", tabindex: "0" });
  if (tail.contentEditable !== "plaintext-only") tail.contentEditable = "true";
  const more = h("span", { class: "more-options" });
  const line = h("div", { class: "command-line" },
    h("span", { class: "command-name" }, icon("slash", 16), entry.shown), tail, more);
  const handlers = { onInput: typed, onFocus: focusPill, onBlur: () => {}, onKey: key };

  // -- pills ------------------------------------------------------------------------------------

  function add(option, text = "") {
    const pill = optionPill(option, handlers);
    pills.push(pill);
    line.insertBefore(pill.node, tail);
    if (text && option.type !== TYPE.ATTACHMENT) pill.set(text);
    drawMore();
    return pill;
  }

  function drop(pill) {
    const index = pills.indexOf(pill);
    pills.splice(index, 1);
    (pills[index - 1] ?? null)?.focus();
    if (!pills[index - 1]) tail.focus();
    pill.node.remove();
    drawMore();
  }

  const left = () => entry.options.filter((o) => !pills.some((p) => p.option === o));

  function drawMore() {
    const count = left().length;
    more.textContent = count ? `+${count} optional` : "";
    more.hidden = !count;
  }

  const find = (option) => pills.find((p) => p.option === option);

  // -- what is offered --------------------------------------------------------------------------

  function headOf(pill) {
    const error = pill.touched ? pill.check().error : null;
    return [h("strong", {}, pill.name), " ", h("span", { class: "muted" }, localized(pill.option, "description")),
      error ? h("span", { class: "suggest-error" }, error) : null];
  }

  function offer(pill) {
    const choices = choicesOf(pill.option);
    const field = pill.field;
    if (pill.option.autocomplete) {
      ask(pill);
      return;
    }
    if (!choices) {
      suggest.show({ title: headOf(pill), field, note: pill.option.type === TYPE.ATTACHMENT ? "Press to choose a file, or drop or paste one" : "" });
      return;
    }
    const typedText = pill.picked ? "" : pill.text;
    const rows = fitting(choices, typedText).slice(0, 25).map(rowOf);
    const start = pill.picked ? rows.findIndex((r) => r.choice.value === pill.picked.value) : 0;
    suggest.show({ title: headOf(pill), rows, field, start, pick: (row) => take(pill, row.choice), note: rows.length ? "" : "No choice fits" });
  }

  const rowOf = (choice) => ({ label: choice.name, description: choice.description, choice });

  function ask(pill) {
    if (offered === pill) suggest.stale(headOf(pill));
    else suggest.show({ title: headOf(pill), field: pill.field, note: "Loading options…" });
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const values = [];
      for (const other of pills) {
        if (other === pill) values.push({ name: pill.option.name, type: pill.option.type, value: pill.text.trim(), focused: true });
        else {
          const { value, error } = other.check();
          if (!error) values.push({ name: other.option.name, type: other.option.type, value });
        }
      }
      try {
        const body = { type: 4, command: entry.command.id, options: nested(entry, values), channel: store.channelId };
        await act(body, { pill, asked: ++asked });
      } catch (error) {
        if (focused === pill) suggest.show({ title: headOf(pill), field: pill.field, note: error.message });
      }
    }, AUTOCOMPLETE_AFTER);
  }

  function answered(pending, how, data) {
    if (pending.asked !== asked || focused !== pending.pill) return;
    const pill = pending.pill;
    if (how !== "INTERACTION_AUTOCOMPLETE") {
      suggest.show({ title: headOf(pill), field: pill.field, note: "Loading options failed" });
      store.pending.delete(pending.nonce);
      return;
    }
    offered = pill;
    const choices = data.choices.map((c) => ({ name: c.name_localizations?.[store.me.locale] ?? c.name, value: c.value }));
    // what is typed stays as it is unless somebody goes into the list, where anything may be typed
    const start = pill.picked ? choices.findIndex((c) => c.value === pill.picked.value) : pill.text.trim() ? 0 : -1;
    suggest.show({ title: headOf(pill), rows: choices.map(rowOf), field: pill.field, start,
      pick: (row) => take(pill, row.choice), note: choices.length ? "" : "No options match your search." });
  }

  function take(pill, choice) {
    pill.set(choice.name, choice);
    pill.touched = true;
    pill.check();
    next(pill);
  }

  function offerOptions() {
    const words = tail.textContent.trim().toLowerCase();
    const rows = left().filter((o) => localized(o, "name").toLowerCase().includes(words)).map((option) => (
      { label: localized(option, "name"), description: localized(option, "description"), option }));
    const title = rows.length ? [h("span", { class: "suggest-caption" }, "Options")] : null;
    suggest.show({ title, rows, field: tail, start: words ? 0 : -1, pick: (row) => open(row.option),
      note: words && !rows.length ? "This command has no such option left" : "" });
  }

  function open(option, text = "") {
    tail.textContent = "";
    const pill = find(option) ?? add(option, text);
    if (text) pill.set(text);
    pill.focus();
    return pill;
  }

  // -- typing -----------------------------------------------------------------------------------

  function typed(pill) {
    line.dispatchEvent(new CustomEvent("changed"));
    if (pill.option.type !== TYPE.ATTACHMENT && pill.text.includes(":")) {
      const { before, values } = splitTyped(pill.text, [...left(), pill.option]);
      const others = values.filter(([option]) => option !== pill.option);
      const own = values.find(([option]) => option === pill.option);
      if (own && !before.trim()) pill.set(own[1]);
      else if (others.length) pill.set(before.trimEnd());
      for (const [option, text] of others) open(option, text);
      if (others.length) return;
    }
    pill.check();
    if (focused === pill) offer(pill);
  }

  function focusPill(pill) {
    focused = pill;
    offered = null;
    offer(pill);
  }

  tail.addEventListener("focus", () => {
    focused = "tail";
    offerOptions();
  });
  tail.addEventListener("input", () => {
    const text = tail.textContent.replace(/[\n\u00a0]/g, " ");
    const { values } = splitTyped(text, left());
    if (!values.length) {
      offerOptions();
      return;
    }
    for (const [option, value] of values) open(option, value);
  });
  tail.addEventListener("keydown", (event) => key(event, null));

  function next(pill) {
    const index = pills.indexOf(pill);
    const empty = pills.find((p) => p.option.required && p.empty);
    if (empty) empty.focus();
    else if (pills[index + 1]) pills[index + 1].focus();
    else tail.focus();
  }

  function key(event, pill) {
    if (event.isComposing) return;
    const index = pill ? pills.indexOf(pill) : pills.length;
    const field = pill ? pill.field : tail;
    const isFile = pill?.option.type === TYPE.ATTACHMENT;
    const handle = {
      Enter: () => {
        // a file's button opens the chooser only by a press or Space: Enter sends, as elsewhere
        if (event.shiftKey || !suggest.pick()) send();
      },
      Tab: () => {
        if (!event.shiftKey && suggest.active >= 0 && !(pill?.picked)) return suggest.pick();
        return tab(event.shiftKey ? -1 : 1, index);
      },
      ArrowDown: () => (suggest.open ? suggest.move(1) : onRecall(1)),
      ArrowUp: () => (suggest.open ? suggest.move(-1) : onRecall(-1)),
      Escape: () => (suggest.open ? suggest.hide() : leave()),
    }[event.key];
    if (handle) {
      const result = handle();
      if (result !== false) {
        event.preventDefault();
        event.stopPropagation();
      }
    } else if (event.key === "Backspace" && (pill ? pill.empty || isFile : !tail.textContent)) {
      event.preventDefault();
      erase(pill, isFile);
    } else if (event.key === "ArrowLeft" && index > 0 && (isFile || caretAt(field, "start"))) {
      event.preventDefault();
      pills[index - 1].focus();
    } else if (event.key === "ArrowRight" && pill && (isFile || caretAt(field, "end"))) {
      event.preventDefault();
      if (pills[index + 1]) pills[index + 1].focus(true);
      else tail.focus();
    }
  }

  /** Tab goes on through the pills; at the end it opens the first option that is left. */
  function tab(step, index) {
    const to = index + step;
    if (to < 0) return false;
    if (to < pills.length) pills[to].focus();
    else if (to === pills.length) tail.focus();
    else if (left().length) open(left()[0]);
    else return false;
    return true;
  }

  function erase(pill, isFile) {
    if (!pill) {
      if (pills.length) pills.at(-1).focus();
      else leave();
    } else if (isFile && pill.file) {
      pill.file = null;
      pill.draw();
    } else if (!pill.option.required) {
      drop(pill);
    } else if (pills.every((p) => p.empty)) {
      leave();
    } else if (pills.indexOf(pill) > 0) {
      pills[pills.indexOf(pill) - 1].focus();
    }
  }

  function leave() {
    close();
    onLeave(`/${entry.shown}`);
  }

  function close() {
    clearTimeout(timer);
    current = IDLE;
    suggest.hide();
  }

  // -- sending ----------------------------------------------------------------------------------

  async function send() {
    const values = [];
    let bad = null;
    for (const pill of pills) {
      pill.touched = true;
      const { value, error } = pill.check();
      if (error) bad ??= pill;
      else values.push({ name: pill.option.name, type: pill.option.type, value });
    }
    if (bad) {
      bad.focus();
      offer(bad); // it says what is wrong, even if the focus was there already
      return;
    }
    if (tail.textContent.trim()) {
      suggest.show({ title: [h("span", { class: "suggest-error" }, `“${tail.textContent.trim()}” belongs to no option`)], field: tail });
      return;
    }
    const body = { type: 2, command: entry.command.id, options: nested(entry, values), channel: store.channelId };
    // the composer is free at once: what is typed next is not part of this command
    close();
    onSent({ shown: entry.shown, values: pills.filter((p) => !p.file).map((p) => [p.option.name, p.text, p.picked]) });
    try {
      await act(body, { commandName: entry.shown });
    } catch (error) {
      onRefused(error.message);
    }
  }

  line.addEventListener("mousedown", (event) => {
    if (event.target === line || event.target === more) {
      event.preventDefault();
      tail.focus();
    }
  });

  for (const option of entry.options) if (option.required) add(option);
  drawMore();
  current = { answered };
  return {
    node: line,
    focus: () => (pills[0] ? pills[0].focus() : tail.focus()),
    close,
    send,
    /** A pasted or dropped file: for the option in hand, or the first that takes one. */
    attach(files) {
      const isFile = (o) => o.type === TYPE.ATTACHMENT;
      const pill = (focused && focused !== "tail" && isFile(focused.option) && focused) ||
        pills.find((p) => isFile(p.option) && !p.file) || (left().some(isFile) && add(left().find(isFile)));
      if (pill) {
        pill.focus();
        pill.attach(files[0]);
      }
      return Boolean(pill);
    },
    /** It is shown again after it was refused. */
    resume(reason) {
      current = { answered };
      tail.focus();
      suggest.show({ title: [h("span", { class: "suggest-error" }, reason)], field: tail });
    },
    /** The values of an earlier use of the command. */
    restore({ values }) {
      for (const [name, text, picked] of values) {
        const option = entry.options.find((o) => o.name === name);
        if (option) (find(option) ?? add(option)).set(text, picked);
      }
      (pills.find((p) => p.empty) ?? pills.at(-1))?.focus();
      if (!pills.length) tail.focus();
    },
    /** `a cat steps: 20`, as typed or pasted behind the command's name. */
    fill(text) {
      const { before, values } = splitTyped(text, entry.options);
      if (before.trim() && pills[0]) pills[0].set(before.trim());
      for (const [option, value] of values) (find(option) ?? add(option)).set?.(value);
      const last = values.at(-1)?.[0];
      (last ? find(last) : pills.find((p) => p.empty) ?? pills[0])?.focus();
    },
  };
}
