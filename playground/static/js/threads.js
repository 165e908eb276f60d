// Threads and forums: begun in a dialog, shown under a message, listed as posts.

import * as api from "./api.js";
import { button, h, icon } from "./dom.js";
import { layer } from "./layers.js";
import { format } from "./markdown.js";
import { channel, displayName, isForum, isThread, make, may, open, PERMISSION, store, threadsOf } from "./store.js";

/** A dialog with one or two fields; `done(values)` gets what was entered. */
export function askFor(title, fields, done) {
  const inputs = fields.map(({ label, long }) => {
    const id = `ask-${label.replace(/\W/g, "-").toLowerCase()}`;
    const props = { id, class: "modal-input", autocomplete: "off", required: true, maxlength: long ? 2000 : 100 };
    const input = long ? h("textarea", { ...props, rows: 4 }) : h("input", props);
    return { input, node: h("div", { class: "modal-field" }, h("label", { class: "modal-label", for: id }, label), input) };
  });
  const form = h("form", { class: "modal", on: { submit: (event) => {
    event.preventDefault();
    const values = inputs.map(({ input }) => input.value.trim());
    if (values.some((value) => !value)) return;
    close();
    done(...values);
  } } },
  h("header", {}, h("h2", { id: "ask-title" }, title), button("icon-button", "Close", () => close(), icon("close", 22))),
  h("div", { class: "modal-fields" }, inputs.map(({ node }) => node)),
  h("footer", {}, button("component-button secondary", "", () => close(), "Cancel"),
    h("button", { type: "submit", class: "component-button primary" }, "Create")));
  const veil = h("div", { class: "modal-veil", role: "dialog", "aria-modal": "true", "aria-labelledby": "ask-title" }, form);
  const close = layer(veil, { focus: form });
  inputs[0].input.focus();
}

/** In the channel that is shown; `message`: a thread that begins with it. */
export function askForThread({ message = null, isPrivate = false } = {}) {
  const place = store.channelId;
  askFor(isPrivate ? "Create a private thread" : "Create a thread", [{ label: "Name" }], (name) =>
    make(() => api.beginThread(store.user, place, { name, private: isPrivate, message: message?.id })));
}

export function askForPost(forum) {
  askFor("New post", [{ label: "Title" }, { label: "Message", long: true }], (name, content) =>
    make(() => api.beginThread(store.user, forum.id, { name, content })));
}

const counted = (n) => (n === 1 ? "1 message" : `${n} messages`);

/** Under the message that a thread began with. */
export function threadLine(message) {
  const { id, name, message_count: count } = message.thread;
  return h("button", { type: "button", class: "thread-line", "aria-label": `Thread ${name}`, on: { click: () => channel(id) && open(id) } },
    icon("thread", 18), h("strong", {}, name), h("span", {}, counted(count)));
}

/** What a forum shows instead of messages. */
export function posts(forum) {
  const found = [...threadsOf(forum)].sort((a, b) => (BigInt(a.last_message_id ?? a.id) < BigInt(b.last_message_id ?? b.id) ? 1 : -1));
  const fresh = may(PERMISSION.SEND_MESSAGES, forum) &&
    button("component-button primary", "", () => askForPost(forum), icon("plus", 18), "New Post");
  return h("li", { class: "posts" }, h("div", { class: "posts-head" }, h("h1", {}, icon("forum", 28), forum.name), fresh),
    found.length ? found.map((post) => card(post, forum)) : h("p", {}, "There are no posts yet."));
}

function card(post, forum) {
  const owner = store.users.get(post.owner_id);
  const tags = (post.applied_tags ?? []).map((id) => forum.available_tags.find((t) => t.id === id)?.name).filter(Boolean);
  return h("button", { type: "button", class: "post", on: { click: () => open(post.id) } },
    tags.length > 0 && h("span", { class: "post-tags" }, tags.map((tag) => h("span", { class: "post-tag" }, tag))),
    h("strong", {}, post.name),
    h("span", { class: "post-sub" }, owner ? displayName(owner) : "", " · ", counted(post.message_count), " · ",
      format(new Date(post.thread_metadata.create_timestamp), "d")));
}

/** The icon of a channel, thread or forum. */
export function placeIcon(place, size = 20) {
  if (isForum(place)) return icon("forum", size);
  if (!isThread(place)) return icon("hash", size);
  return icon(place.type === 12 ? "lock" : "thread", size);
}
