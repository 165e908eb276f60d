// Modals that the bot opens: fields in a dialog, handed in or cancelled.

import { button, h, icon } from "./dom.js";
import { layer } from "./layers.js";
import { markdown } from "./markdown.js";
import { modalField } from "./fields.js";
import { act, on } from "./store.js";

export function listenForModals() {
  on("settled", ({ pending, how, data }) => {
    if (how === "INTERACTION_MODAL") openModal(pending, data);
    open.get(pending.modal)?.(how);
  });
}

const open = new Map(); // interaction that opened a modal -> what to do when the modal is answered

function openModal(pending, data) {
  const fields = [];
  const parts = data.components.map((part) => {
    if (part.type === 10) return markdown(part.content);
    const field = modalField(part);
    fields.push(field);
    return field.node;
  });
  const error = h("div", { class: "modal-error", role: "alert" });
  const submit = h("button", { type: "submit", class: "component-button primary" }, "Submit");
  const titleId = `modal-${data.id}`;
  const form = h("form", { class: "modal", novalidate: true },
    h("header", {}, h("h2", { id: titleId }, data.title), button("icon-button", "Close", () => close(), icon("close", 22))),
    h("div", { class: "modal-fields" }, parts, error),
    h("footer", {}, button("component-button secondary", "", () => close(), "Cancel"), submit));
  const veil = h("div", { class: "modal-veil", role: "dialog", "aria-modal": "true", "aria-labelledby": titleId }, form);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    await Promise.all(fields.map((field) => field.ready()));
    const wrong = fields.filter((field) => !field.check());
    if (wrong.length) {
      submit.disabled = false;
      wrong[0].focus();
      return;
    }
    error.textContent = "";
    try {
      await act({
        type: 5, interaction: data.id, channel: pending.channelId, custom_id: data.custom_id,
        components: fields.map((field) => ({ type: 18, component: field.value() })),
      }, { messageId: pending.messageId, customId: pending.customId, modal: data.id });
    } catch (problem) {
      error.textContent = problem.message;
      submit.disabled = false;
    }
  });
  open.set(data.id, (how) => {
    if (how !== "INTERACTION_FAILURE") close();
    else if (!error.textContent) error.textContent = "Something went wrong: the bot did not answer. What you entered is still here to be copied.";
  });
  const close = layer(veil, { focus: form, onClose: () => open.delete(data.id) });
  fields[0]?.focus();
}
