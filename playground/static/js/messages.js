// The list of messages: grouping, days, scrolling, older ones.

import { h, button, icon } from "./dom.js";
import { format } from "./markdown.js";
import { avatar, appBadge, messageView, nameButton } from "./message.js";
import { channel, channelName, displayName, FLAG, forget, isDirect, isForum, isThread, loadOlder, markRead, on, parentOf, room, store } from "./store.js";
import { placeIcon, posts } from "./threads.js";

const GROUP_WITHIN = 7 * 60_000;
const NEAR_BOTTOM = 60; // pixels

export function messageList() {
  const list = h("ol", { class: "messages", role: "log", "aria-label": "Messages", "aria-live": "polite" });
  const scroller = h("div", { class: "scroller", tabindex: "0" }, list);
  const toNew = h("button", { type: "button", class: "jump", hidden: true, on: { click: () => toBottom() } }, "New messages", icon("down", 18));
  const node = h("div", { class: "message-area" }, scroller, toNew);
  const views = new Map();
  let pinned = true;

  const toBottom = () => {
    pinned = true;
    scroller.scrollTop = scroller.scrollHeight;
    toNew.hidden = true;
    if (store.channelId && store.me) markRead(store.channelId);
  };
  const settleScroll = () => {
    if (pinned) scroller.scrollTop = scroller.scrollHeight;
  };
  scroller.addEventListener("scroll", () => {
    pinned = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BOTTOM;
    if (pinned) toNew.hidden = true;
    if (scroller.scrollTop < 200) loadOlder();
  });
  new ResizeObserver(settleScroll).observe(list);
  new ResizeObserver(settleScroll).observe(scroller);

  /** Bring the elements in line with the messages, making and moving as few as possible. */
  function draw() {
    const place = room();
    const wanted = [];
    if (isForum(channel())) {
      reconcile([posts(channel())]);
      return;
    }
    if (place.complete && channel()) wanted.push(welcome());
    if (!place.loaded && !place.messages.length) wanted.push(skeleton());
    let previous = null;
    for (const message of place.messages) {
      if (!previous || dayOf(previous) !== dayOf(message)) wanted.push(divider(message));
      let view = views.get(message.id);
      if (!view) views.set(message.id, (view = messageView(message)));
      view.update(message, continues(previous, message));
      wanted.push(view);
      previous = message;
    }
    for (const pending of store.pending.values()) {
      if (pending.channelId === store.channelId && pending.type === 2) wanted.push(pendingView(pending));
    }
    const known = new Set(place.messages.map((m) => m.id));
    for (const id of views.keys()) if (!known.has(id)) views.delete(id);
    reconcile(wanted);
    settleScroll();
  }

  function reconcile(wanted) {
    const keep = new Set(wanted);
    for (const child of [...list.children]) if (!keep.has(child)) child.remove();
    wanted.forEach((child, index) => {
      if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
    });
  }

  on("channel", () => {
    views.clear();
    list.replaceChildren();
    pinned = true;
    toNew.hidden = true;
    draw();
  });
  on("messages", () => {
    draw();
    if (pinned) toBottom();
  });
  on("older", () => {
    const fromBottom = scroller.scrollHeight - scroller.scrollTop;
    draw();
    scroller.scrollTop = scroller.scrollHeight - fromBottom;
  });
  on("message", (message) => {
    draw();
    if (message.author.id === store.me.id) toBottom();
    else if (!pinned) toNew.hidden = false;
  });
  for (const name of ["edited", "deleted", "pending", "settled", "state"]) {
    on(name, (detail) => {
      draw();
      if (name === "pending" && detail.type === 2) toBottom();
    });
  }
  on("person", () => views.clear());
  window.addEventListener("focus", () => store.channelId && pinned && markRead(store.channelId));
  return node;
}

function continues(previous, message) {
  return previous !== null && previous.author.id === message.author.id &&
    dayOf(previous) === dayOf(message) &&
    Boolean(previous.flags & FLAG.EPHEMERAL) === Boolean(message.flags & FLAG.EPHEMERAL) &&
    new Date(message.timestamp) - new Date(previous.timestamp) < GROUP_WITHIN;
}

const dayOf = (message) => new Date(message.timestamp).toDateString();

const divider = (message) =>
  h("li", { class: "day", role: "separator" }, h("span", {}, format(new Date(message.timestamp), "D")));

function welcome() {
  const place = channel();
  const name = channelName(place);
  if (isDirect(place)) {
    return h("li", { class: "welcome" }, avatar(place.recipients[0], 80), h("h1", {}, name),
      h("p", {}, `This is the beginning of your direct messages with ${name}.`));
  }
  if (isThread(place)) {
    return h("li", { class: "welcome" }, h("span", { class: "welcome-icon" }, placeIcon(place, 38)), h("h1", {}, name),
      h("p", {}, `Started by ${displayName(store.users.get(place.owner_id) ?? store.me)} in #${channelName(parentOf(place))}.`));
  }
  return h("li", { class: "welcome" }, h("span", { class: "welcome-icon" }, icon("hash", 42)),
    h("h1", {}, `Welcome to #${name}!`), h("p", {}, `This is the start of the #${name} channel.`));
}

const skeleton = () => h("li", { class: "skeleton", "aria-label": "Loading" },
  [70, 40, 85, 55, 65].map((width) => h("div", { class: "skeleton-row" }, h("i", { class: "skeleton-avatar" }),
    h("div", {}, h("i", { style: { width: "90px" } }), h("i", { style: { width: `${width}%` } })))));

/** A command on its way, or one that was not answered. */
function pendingView(pending) {
  const bot = store.application.bot;
  const text = pending.failed
    ? h("div", { class: "failure", role: "alert" }, icon("warn", 16), pending.failed)
    : h("div", { class: "thinking" }, h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), "Sending command…");
  return h("li", { class: pending.failed ? "message starts ephemeral" : "message starts sending" },
    h("div", { class: "reply-line used" }, avatar(store.me, 16), nameButton(store.me, "reply-author"), " used ",
      h("span", { class: "used-name" }, pending.context ? pending.commandName : `/${pending.commandName}`)),
    h("div", { class: "message-row" }, h("div", { class: "gutter" }, avatar(bot)),
      h("div", { class: "message-body" },
        h("div", { class: "message-header" }, nameButton(bot), appBadge()), text,
        pending.failed && h("div", { class: "whisper" }, icon("eye", 16), "Only you can see this • ",
          button("link-button", "", () => forget(pending.nonce), "Dismiss message")))));
}
