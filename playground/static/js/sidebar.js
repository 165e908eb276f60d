// Servers, channels, who one is, and the members.

import * as api from "./api.js";
import { button, h, icon } from "./dom.js";
import { openMenu } from "./menus.js";
import { appBadge, avatar, colorOf, nameButton } from "./message.js";
import { channel, displayName, guild, isDirect, isForum, isThread, isUnread, make, may, on, open, openDirect, parentOf, store, tell,
  threadsOf, TYPE } from "./store.js";
import { askFor, placeIcon } from "./threads.js";

const MANAGE_CHANNELS = 1n << 4n;

const initials = (name) => name.split(/\s+/).map((w) => [...w][0]).join("").slice(0, 3);

/** The column of servers, with direct messages on top. */
export function rail() {
  const node = h("nav", { class: "rail", "aria-label": "Servers" });
  const draw = () => {
    const direct = railButton("Direct messages", store.guildId === null && store.channelId !== null,
      store.dms.some(isUnread), openDirect, icon("at", 24));
    node.replaceChildren(direct, h("hr"), ...store.guilds.map((server) =>
      railButton(server.name, server.id === store.guildId, [...server.channels, ...server.threads].some(isUnread),
        () => server.channels[0] && open(server.channels[0].id), initials(server.name))),
    railButton("Add a server", false, false, (event) => addServer(event.currentTarget), icon("plus", 24)));
  };
  const addServer = (anchor) => {
    const ask = (bot) => askFor(bot ? "A server with the bot" : "A server without the bot", [{ label: "Name" }], (name) =>
      make(() => api.addServer(store.user, name, bot)));
    openMenu(anchor, [{ label: "Add a server" }, { label: "With the bot", action: () => ask(true) },
      { label: "Without the bot", hint: "for apps of one's own", action: () => ask(false) }], { label: "Add a server" });
  };
  return redrawn(node, draw);
}

function railButton(name, chosen, unread, onClick, content) {
  const state = chosen ? "rail-button chosen" : unread ? "rail-button unread" : "rail-button";
  const node = button(state, unread ? `${name}, unread messages` : name, onClick, content);
  node.title = name;
  if (chosen) node.setAttribute("aria-current", "true");
  return h("div", { class: "rail-item" }, node);
}

export function channels() {
  const title = h("h1", {});
  const list = h("div", { class: "channel-list" });
  const node = h("nav", { class: "channels", "aria-label": "Channels" }, h("header", {}, title), list, personPanel());
  const draw = () => {
    const server = guild();
    title.textContent = server?.name ?? "Direct messages";
    const head = h("h2", {}, server ? "Text channels" : "Direct messages");
    const items = server ? server.channels.flatMap((c) => [channelItem(c), ...threadsOf(c).map(threadItem)]) : directs();
    if (server && may(MANAGE_CHANNELS, server.channels[0])) {
      head.append(button("icon-button small", "Add a channel", (event) => addChannel(server, event.currentTarget), icon("plus", 16)));
    }
    list.replaceChildren(head, ...items);
    if (server && store.application) list.append(h("h2", {}, "Direct messages"), ...directs());
  };
  const addChannel = (server, anchor) => {
    const ask = (title, type) => askFor(title, [{ label: "Name" }], (name) => make(() => api.addChannel(server.id, name, type)));
    openMenu(anchor, [{ label: "Text channel", icon: icon("hash", 18), action: () => ask("A text channel", TYPE.TEXT) },
      { label: "Forum", icon: icon("forum", 18), action: () => ask("A forum", TYPE.FORUM) }], { label: "Add a channel" });
  };
  return redrawn(node, draw);
}

function channelItem(place) {
  const kind = isForum(place) ? "Forum" : place.nsfw ? "Age-restricted channel" : "Channel";
  return item(place, `${kind} ${place.name}`, () => open(place.id),
    h("span", { class: "channel-icon" }, placeIcon(place), place.nsfw && h("span", { class: "nsfw-mark", title: "Age-restricted" }, "18")),
    h("span", { class: "channel-name" }, place.name));
}

function threadItem(place) {
  const node = item(place, `${place.type === TYPE.PRIVATE_THREAD ? "Private thread" : "Thread"} ${place.name}`, () => open(place.id),
    h("span", { class: "channel-icon" }, placeIcon(place, 16)), h("span", { class: "channel-name" }, place.name));
  node.classList.add("thread");
  return node;
}

/** The bot first, whether or not it was written to. */
function directs() {
  const { bot } = store.application;
  const withBot = store.dms.find((c) => c.recipients[0].id === bot.id) ?? { id: null, recipients: [bot] };
  return [withBot, ...store.dms.filter((c) => c !== withBot)].map(directItem);
}

function directItem(place) {
  const [other] = place.recipients;
  const inside = [presence(other, 28), h("span", { class: "channel-name" }, displayName(other)), other.bot && appBadge()].filter(Boolean);
  return item(place, `Direct message with ${displayName(other)}`, () => openDirect(other.bot ? null : other.id), ...inside);
}

function item(place, label, onClick, ...content) {
  const chosen = place.id !== null && place.id === store.channelId;
  const unread = place.id !== null && isUnread(place);
  const node = button(`channel${chosen ? " chosen" : ""}${unread ? " unread" : ""}`, "", () => {
    document.getElementById("app").classList.remove("show-left");
    onClick();
  }, ...content);
  node.setAttribute("aria-label", unread ? `${label}, unread` : label);
  if (chosen) node.setAttribute("aria-current", "page");
  return node;
}

/** An avatar with the dot that says whether they are there: people always are. */
export function presence(user, size = 32) {
  const online = !user.bot || store.application.online;
  return h("span", { class: "with-status" }, avatar(user, size),
    h("span", { class: online ? "status online" : "status offline", title: online ? "Online" : "Offline" }));
}

function personPanel() {
  const node = h("div", { class: "person-panel" });
  const draw = () => {
    if (!store.me) return;
    const switcher = h("button", { type: "button", class: "person-switch", "aria-haspopup": "menu",
      "aria-label": `You are ${displayName(store.me)}. Be somebody else`, on: { click: (e) => choose(e.currentTarget) } },
    presence(store.me), h("span", { class: "person-text" }, h("span", { class: "person-name" }, displayName(store.me)),
      h("span", { class: "person-sub" }, store.me.username, store.me.locale && store.me.locale !== "en-US" ? ` · ${store.me.locale}` : "")), icon("people", 20));
    node.replaceChildren(switcher);
  };
  const choose = (anchor) => {
    const people = [...store.users.values()].filter((u) => !u.bot);
    openMenu(anchor, [{ label: "Be somebody else" }, ...people.map((u) => ({
      label: displayName(u), hint: u.username, icon: u.id === store.me.id ? icon("check", 18) : null, action: () => tell("be", u.username) })),
      null, { label: "Language", hint: language(store.me.locale), action: () => chooseLanguage(anchor) }],
    { label: "People", prefer: "above" });
  };
  return redrawn(node, draw);
}

const LANGUAGES = ["en-US", "en-GB", "de", "es-ES", "fr", "it", "ja", "ko", "nl", "pl", "pt-BR", "ru", "tr", "uk", "vi", "zh-CN", "zh-TW"];

function language(locale) {
  try {
    return new Intl.DisplayNames(locale, { type: "language" }).of(locale);
  } catch {
    return locale;
  }
}

function chooseLanguage(anchor) {
  const server = guild() ?? store.guilds[0];
  const set = (locale) => api.speak(server.id, store.me.id, locale).catch((error) => tell("problem", error.message));
  const items = LANGUAGES.map((locale) => ({
    label: language(locale), hint: locale, icon: locale === store.me.locale ? icon("check", 18) : null, action: () => set(locale) }));
  openMenu(anchor, server ? [{ label: `${displayName(store.me)}'s language` }, ...items] : [{ label: "Nobody without a server has one" }],
    { label: "Language", prefer: "above" });
}

export function members() {
  const node = h("aside", { class: "members", "aria-label": "Members" });
  const draw = () => {
    const inThread = isThread(channel()) ? new Set(channel().members) : null;
    const people = (guild()?.members.map((m) => m.user) ?? [store.me, ...(channel()?.recipients ?? [store.application.bot])])
      .filter((u) => !inThread || inThread.has(u.id));
    const bots = people.filter((u) => u.bot);
    const humans = people.filter((u) => !u.bot);
    const offline = store.application.online ? [] : bots;
    const online = [...humans, ...(store.application.online ? bots : [])];
    node.replaceChildren(...group("Online", online), ...group("Offline", offline));
  };
  const group = (name, people) => people.length ? [h("h2", {}, `${name} — ${people.length}`), ...people.map(row)] : [];
  const row = (user) => {
    const name = nameButton(user, "member-name");
    name.style.color = colorOf(user) ?? "";
    const activity = user.bot && store.application.activity;
    return h("div", { class: user.bot && !store.application.online ? "member away" : "member" }, presence(user),
      h("div", { class: "member-lines" },
        h("div", { class: "member-line" }, name, user.bot && appBadge()),
        activity && h("div", { class: "activity", title: activity }, activity)));
  };
  return redrawn(node, draw);
}

/** Said above the messages while no bot is connected. */
export function hint() {
  const node = h("div", { class: "hint", role: "status" });
  const draw = () => {
    const lost = !store.connected;
    const away = store.application && !store.application.online;
    node.hidden = !lost && !away;
    node.className = lost ? "hint lost" : "hint";
    node.replaceChildren(icon("warn", 18), lost
      ? h("span", {}, "The connection to the local Discord is lost. Trying again…")
      : h("span", {}, h("strong", {}, "No bot is connected."), " Start one with this address: ",
        h("code", {}, `${location.origin}/api`), " — its commands answer once it is online."));
  };
  on("connection", draw);
  return redrawn(node, draw);
}

export function header(onMembers) {
  const title = h("div", { class: "title" });
  const toggle = button("icon-button", "Show or hide the members", onMembers, icon("people", 24));
  const node = h("header", { class: "topbar" },
    button("icon-button only-narrow", "Show channels", () => document.getElementById("app").classList.toggle("show-left"), icon("menu", 24)),
    title, h("span", { class: "spring" }), toggle);
  const draw = () => {
    const place = channel();
    if (!place) return;
    if (isDirect(place)) {
      title.replaceChildren(presence(place.recipients[0], 24), h("h2", {}, displayName(place.recipients[0])), place.recipients[0].bot ? appBadge() : "");
    } else {
      const parent = parentOf(place);
      title.replaceChildren(...(parent ? [placeIcon(parent, 24), button("crumb", "", () => open(parent.id), parent.name), icon("right", 16)] : []),
        placeIcon(place, parent ? 20 : 24), h("h2", {}, place.name),
        (parent ?? place).nsfw ? h("span", { class: "nsfw-label" }, "Age-restricted") : "",
        place.topic ? h("span", { class: "topic" }, place.topic) : "");
    }
  };
  return redrawn(node, draw);
}

function redrawn(node, draw) {
  const safely = () => store.me && draw();
  for (const name of ["person", "state", "channel", "unread"]) on(name, safely);
  return node;
}
