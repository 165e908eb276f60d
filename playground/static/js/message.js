// One message: made of parts, of which an edit replaces only those that changed.

import * as api from "./api.js";
import { attachments } from "./attachments.js";
import { button, h, icon } from "./dom.js";
import { components, failureOf, pendingOf } from "./components.js";
import { embed, grouped } from "./embeds.js";
import { markdown, format, inlineMarkdown } from "./markdown.js";
import { openMessageMenu, openUserMenu } from "./apps.js";
import { addReaction, reactions, toggle } from "./reactions.js";
import { threadLine } from "./threads.js";
import { displayName, FLAG, guild, may, member, PERMISSION, store, tell } from "./store.js";

const PARTS = ["reply", "used", "content", "attachments", "embeds", "components", "failure", "reactions", "thread", "whisper"];
const SHOW_PICTURES_WITHIN = 400; // ms an edit waits for its new pictures, so that nothing flashes

const HUES = [212, 150, 282, 36, 328, 186];

export function avatar(user, size = 40) {
  const letter = [...displayName(user)][0]?.toUpperCase() ?? "?";
  const hue = user.bot ? 4 : HUES[[...user.username].reduce((sum, c) => sum * 7 + c.codePointAt(0), 0) % HUES.length];
  return h("span", { class: user.bot ? "avatar bot" : "avatar", "aria-hidden": "true",
    style: { "--size": `${size}px`, "--hue": hue } }, letter);
}

export const appBadge = () => h("span", { class: "app-badge" }, "APP");

export function colorOf(user) {
  const roles = member(user.id)?.roles ?? [];
  const colored = (guild()?.roles ?? []).filter((r) => r.color && roles.includes(r.id))
    .sort((a, b) => b.position - a.position)[0];
  return colored ? `#${colored.color.toString(16).padStart(6, "0")}` : null;
}

export function nameButton(user, className = "author") {
  const node = h("button", { type: "button", class: className, "aria-haspopup": "menu",
    on: { click: (event) => openUserMenu(user, event.currentTarget) } }, displayName(user));
  node.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    openUserMenu(user, { x: event.clientX, y: event.clientY });
  });
  const tint = colorOf(user);
  if (tint) node.style.color = tint;
  return node;
}

const isEphemeral = (message) => Boolean(message.flags & FLAG.EPHEMERAL);
const isLoading = (message) => Boolean(message.flags & FLAG.LOADING);
const ANSWERS_WITHIN = 15 * 60_000; // ms, then an interaction ends
const isUnanswered = (message) =>
  message.unanswered || Date.now() - new Date(message.timestamp) > ANSWERS_WITHIN;
const SHOWN_AS_USED = [20, 23];

const STARTER = 21;

/** What stands first in a thread that began with a message is that message. */
function shownAs(message) {
  if (message.type !== STARTER || !message.referenced_message) return message;
  const { id, channel_id } = message;
  return { ...message.referenced_message, id, channel_id, thread: null, reactions: [], message_reference: null };
}

/** What each part shows: a part whose description is the same needs no new elements. */
function describe(message) {
  const embedded = new Set((message.embeds ?? []).flatMap((e) => [e.image?.url, e.thumbnail?.url]).filter(Boolean));
  const separate = message.flags & FLAG.V2 ? [] : message.attachments.filter((a) => !embedded.has(a.url));
  const about = message.interaction_metadata;
  const answered = message.referenced_message;
  return {
    reply: message.message_reference && !SHOWN_AS_USED.includes(message.type) &&
      [answered?.content, answered?.author?.id, answered?.attachments?.length, answered === null],
    used: SHOWN_AS_USED.includes(message.type) && about && [about.name ?? about.id, about.user.id],
    content: isLoading(message) ? ["loading", isUnanswered(message)] : message.content && [message.content, message.edited_timestamp],
    attachments: separate.length && separate.map((a) => [a.id, a.url, a.filename, a.size]),
    embeds: message.embeds?.length && !(message.flags & FLAG.NO_EMBEDS) && message.embeds,
    components: message.components?.length && [message.components, pendingOf(message)?.customId],
    failure: failureOf(message),
    reactions: message.reactions?.length && message.reactions.map((r) => [r.emoji.name, r.count, r.me]),
    thread: message.thread && [message.thread.name, message.thread.message_count],
    whisper: isEphemeral(message),
  };
}

const MAKE = {
  reply: replyLine,
  used: usedLine,
  content: contentPart,
  attachments: (message) => {
    const embedded = new Set((message.embeds ?? []).flatMap((e) => [e.image?.url, e.thumbnail?.url]).filter(Boolean));
    return h("div", { class: "attachments" }, attachments(message.attachments.filter((a) => !embedded.has(a.url))));
  },
  embeds: (message) => h("div", { class: "embeds" }, grouped(message.embeds).map(embed)),
  components: (message) => components(message.components, message),
  failure: () => h("div", { class: "failure", role: "alert" }, icon("warn", 16), "This interaction failed"),
  reactions,
  thread: threadLine,
  whisper: whisperLine,
};

/** The element of a message; `update(message, continues)` brings it up to date. */
export function messageView(message) {
  const holders = Object.fromEntries(PARTS.map((part) => [part, h("div", { class: `part-${part}`, hidden: true })]));
  const { reply, used, ...rest } = holders;
  const gutter = h("div", { class: "gutter" });
  const header = h("div", { class: "message-header" });
  const body = h("div", { class: "message-body" }, header, Object.values(rest));
  const tools = h("div", { class: "toolbar", role: "toolbar", "aria-label": "Message actions" });
  const node = h("li", { class: "message", id: `message-${message.id}`, dataset: { id: message.id } },
    reply, used, h("div", { class: "message-row" }, gutter, body), tools);
  const keys = {};
  let head = "";
  let current = shownAs(message);

  node.update = (updated, continues) => {
    const next = shownAs(updated);
    current = next;
    const described = describe(next);
    node.classList.toggle("ephemeral", isEphemeral(next));
    node.classList.toggle("mentions-me", next.mentions?.some((u) => u.id === store.me.id) || next.mention_everyone);
    const startsGroup = !continues || Boolean(described.reply || described.used);
    node.classList.toggle("starts", startsGroup);
    const newHead = JSON.stringify([startsGroup, displayName(next.author), colorOf(next.author), isEphemeral(next)]);
    if (newHead !== head) drawHead(startsGroup);
    head = newHead;
    for (const part of PARTS) {
      const key = described[part] ? JSON.stringify(described[part]) : "";
      if (key === (keys[part] ?? "")) continue;
      keys[part] = key;
      fill(part, key);
    }
    drawTools();
  };

  function fill(part, key) {
    const holder = holders[part];
    if (!key) {
      holder.hidden = true;
      holder.replaceChildren();
      return;
    }
    const made = MAKE[part](current);
    const swap = () => {
      if (keys[part] !== key) return;
      const refocus = part === "components" && holder.contains(document.activeElement) && document.activeElement.dataset.customId;
      holder.replaceChildren(made);
      holder.hidden = false;
      if (refocus) holder.querySelector(`[data-custom-id="${CSS.escape(refocus)}"]`)?.focus({ preventScroll: true });
      node.dispatchEvent(new CustomEvent("resized", { bubbles: true }));
    };
    const pictures = ["attachments", "embeds"].includes(part) && holder.querySelector("img") ? [...made.querySelectorAll("img")] : [];
    if (!pictures.length) {
      swap();
    } else {
      const late = new Promise((done) => setTimeout(done, SHOW_PICTURES_WITHIN));
      Promise.race([Promise.allSettled(pictures.map((i) => i.decode())), late]).then(swap);
    }
  }

  function drawHead(startsGroup) {
    const time = new Date(current.timestamp);
    const stamp = h("time", { class: "stamp", datetime: current.timestamp, title: format(time, "F") });
    if (startsGroup) {
      stamp.textContent = when(time);
      gutter.replaceChildren(avatar(current.author));
      header.replaceChildren(nameButton(current.author), current.author.bot ? appBadge() : "", stamp);
    } else {
      stamp.textContent = format(time, "t");
      gutter.replaceChildren(stamp);
      header.replaceChildren();
    }
  }

  function drawTools() {
    const signature = JSON.stringify([isEphemeral(current), isLoading(current), may(PERMISSION.ADD_REACTIONS), may(PERMISSION.MANAGE_MESSAGES)]);
    if (tools.dataset.signature === signature) return;
    tools.dataset.signature = signature;
    tools.replaceChildren(...toolsFor(() => current));
  }

  node.addEventListener("contextmenu", (event) => {
    if (event.target.closest("a, input, .author, .reply-author")) return;
    event.preventDefault();
    const shown = event.target.closest("img") ?? event.target.closest(".picture")?.querySelector("img");
    const picture = shown && !shown.closest(".hidden-picture") ? shown.src : null;
    openMessageMenu(current, { x: event.clientX, y: event.clientY }, { picture });
  });
  return node;
}

function toolsFor(current) {
  const message = current();
  const whisper = isEphemeral(message);
  const quick = (emoji) => button("tool emoji", `React with ${emoji}`, () => toggle(current(), emoji, false), emoji);
  const reacts = !whisper && may(PERMISSION.ADD_REACTIONS);
  return [
    reacts && quick("👍"),
    reacts && quick("🔁"),
    reacts && button("tool", "Add reaction", (event) => addReaction(current(), event.currentTarget), icon("smile")),
    !whisper && may(PERMISSION.SEND_MESSAGES) && button("tool", "Reply", () => tell("reply", current()), icon("reply")),
    button("tool", "Apps", (event) => openMessageMenu(current(), event.currentTarget, { onlyApps: true }), icon("apps")),
    button("tool", "More", (event) => openMessageMenu(current(), event.currentTarget), icon("dots")),
  ].filter(Boolean);
}

// -- parts ------------------------------------------------------------------------------------

function contentPart(message) {
  if (isLoading(message) && isUnanswered(message)) {
    return h("div", { class: "failure" }, icon("warn", 16), "The application did not respond");
  }
  if (isLoading(message)) {
    return h("div", { class: "thinking" }, h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      `${displayName(message.author)} is thinking…`);
  }
  const node = markdown(message.content);
  if (onlyEmoji(message.content)) node.classList.add("jumbo");
  if (message.edited_timestamp) {
    const mark = h("span", { class: "edited", title: format(new Date(message.edited_timestamp), "F") }, " (edited)");
    (node.lastElementChild?.matches(".md-text") ? node.lastElementChild : node).append(mark);
  }
  return node;
}

const onlyEmoji = (text) => text.length < 60 && /^(?:\p{Extended_Pictographic}[\u{1F3FB}-\u{1F3FF}\uFE0F\u200D\u20E3]*|\s)+$/u.test(text);

function replyLine(message) {
  const answered = message.referenced_message;
  if (!answered) return h("div", { class: "reply-line" }, h("em", {}, "Original message was deleted"));
  const text = answered.content?.split("\n")[0] || (answered.attachments?.length ? "Click to see attachment" : "Click to see message");
  return h("div", { class: "reply-line" }, avatar(answered.author, 16),
    answered.author.bot && appBadge(), nameButton(answered.author, "reply-author"),
    h("button", { type: "button", class: "reply-text", on: { click: () => jumpTo(answered.id) } },
      h("span", {}, inlineMarkdown(text)), answered.attachments?.length ? icon("image", 16) : ""));
}

function jumpTo(id) {
  const found = document.getElementById(`message-${id}`);
  if (!found) return;
  found.scrollIntoView({ block: "center" });
  found.classList.add("flash");
  setTimeout(() => found.classList.remove("flash"), 1500);
}

function usedLine(message) {
  const about = message.interaction_metadata;
  const name = about.name ?? message.interaction?.name ?? "";
  const slash = message.type === 20;
  return h("div", { class: "reply-line used" }, avatar(about.user, 16), nameButton(about.user, "reply-author"),
    " used ", h("span", { class: "used-name" }, slash ? `/${name}` : name));
}

function whisperLine(message) {
  const dismiss = async () => {
    try {
      await api.remove(store.user, message.channel_id, message.id);
    } catch (error) {
      tell("problem", error.message);
    }
  };
  return h("div", { class: "whisper" }, icon("eye", 16), "Only you can see this • ",
    h("button", { type: "button", class: "link-button", on: { click: dismiss } }, "Dismiss message"));
}

function when(time) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return format(time, "t");
  return days === 1 ? `Yesterday at ${format(time, "t")}` : `${format(time, "d")} ${format(time, "t")}`;
}

