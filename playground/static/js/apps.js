// Menus on messages and people, with the bot's context menu commands.

import * as api from "./api.js";
import { icon } from "./dom.js";
import { openMenu } from "./menus.js";
import { addReaction } from "./reactions.js";
import { act, channel, displayName, FLAG, isThread, may, openDirect, PERMISSION, store, tell, TYPE } from "./store.js";
import { askForThread } from "./threads.js";
import { localized, usable } from "./commands.js";

const USER_COMMAND = 2;
const MESSAGE_COMMAND = 3;

function commandsFor(kind, target, extra = {}) {
  return store.commands.filter((c) => c.type === kind && usable(c, channel())).map((command) => ({
    label: localized(command, "name"),
    hint: store.application.name,
    icon: icon("apps", 18),
    action: async () => {
      const about = { commandName: command.name, context: true, ...extra };
      await act({ type: 2, command: command.id, channel: store.channelId, target }, about).catch((error) => tell("problem", error.message));
    },
  }));
}

const heading = (label) => ({ label });

/** `picture` is the link of the picture that the menu is opened on. */
export function openMessageMenu(message, anchor, { onlyApps = false, picture = null } = {}) {
  const apps = commandsFor(MESSAGE_COMMAND, message.id);
  const appsPart = apps.length ? [heading("Apps"), ...apps] : [heading(onlyApps ? "No app has a command for messages" : "")].filter((i) => i.label);
  if (onlyApps) {
    openMenu(anchor, appsPart, { label: "Apps", prefer: "left" });
    return;
  }
  const whisper = message.flags & FLAG.EPHEMERAL;
  const own = message.author.id === store.me.id;
  const items = [];
  if (!whisper && may(PERMISSION.ADD_REACTIONS)) {
    const where = anchor instanceof Element ? anchor : document.getElementById(`message-${message.id}`);
    items.push({ label: "Add Reaction", icon: icon("smile", 18), action: () => addReaction(message, where) });
  }
  if (!whisper && may(PERMISSION.SEND_MESSAGES)) {
    items.push({ label: "Reply", icon: icon("reply", 18), action: () => tell("reply", message) });
  }
  if (message.content) {
    items.push({ label: "Copy Text", icon: icon("copy", 18), action: () => copy(message.content) });
  }
  if (!whisper && message.type !== 21 && !message.thread && channel()?.type === TYPE.TEXT && may(PERMISSION.CREATE_THREADS)) {
    items.push({ label: "Create Thread", icon: icon("thread", 18), action: () => askForThread({ message }) });
  }
  items.push({ label: "Copy Message ID", icon: icon("copy", 18), action: () => copy(message.id) });
  if (picture) {
    items.push(null, { label: "Open Picture", icon: icon("link", 18), action: () => open(picture, "_blank", "noopener") });
    items.push({ label: "Copy Link", icon: icon("copy", 18), action: () => copy(picture) });
  }
  if (appsPart.length) items.push(null, ...appsPart);
  if (own || whisper || may(PERMISSION.MANAGE_MESSAGES)) {
    const label = whisper ? "Dismiss Message" : "Delete Message";
    items.push(null, { label, danger: true, icon: icon("trash", 18), action: () => remove(message) });
  }
  // beside a button to its left; where one clicked, below and to the right as everywhere
  openMenu(anchor, items, { label: "Message", prefer: anchor instanceof Element ? "left" : "below" });
}

export function openUserMenu(user, anchor) {
  const items = [heading(displayName(user))];
  if (user.id !== store.me.id && !user.bot) {
    items.push({ label: `Be ${displayName(user)}`, icon: icon("person", 18), action: () => tell("be", user.username) });
  }
  items.push({ label: "Mention", icon: icon("at", 18), action: () => tell("mention", user) });
  if (user.id !== store.me.id) {
    items.push({ label: "Message", icon: icon("send", 18), action: () => openDirect(user.bot ? null : user.id) });
  }
  if (user.id === store.application.bot.id) {
    const had = store.application.installed;
    items.push({ label: had ? "Remove from My Apps" : "Add to My Apps", danger: had, icon: icon("apps", 18), action: () => install(!had) });
  }
  const thread = channel();
  if (isThread(thread) && !thread.members.includes(user.id)) {
    items.push({ label: "Let into This Thread", icon: icon("thread", 18), action: () => attempt(() => api.letIn(store.user, thread.id, user.id)) });
  } else if (isThread(thread) && user.id !== store.me.id && may(PERMISSION.MANAGE_THREADS)) {
    items.push({ label: "Remove from This Thread", danger: true, icon: icon("thread", 18), action: () => attempt(() => api.putOut(store.user, thread.id, user.id)) });
  }
  items.push({ label: "Copy User ID", icon: icon("copy", 18), action: () => copy(user.id) });
  const apps = commandsFor(USER_COMMAND, user.id);
  if (apps.length) items.push(null, heading("Apps"), ...apps);
  openMenu(anchor, items, { label: displayName(user) });
}

async function attempt(doing) {
  try {
    await doing();
  } catch (error) {
    tell("problem", error.message);
  }
}

/** The person takes the app along, to servers and direct messages where its bot is not. */
async function install(wanted) {
  await attempt(async () => {
    await api.install(store.user, wanted);
    tell("notice", wanted ? `${store.application.name}'s commands now come along wherever you are.` : `${store.application.name} is no longer among your apps.`);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("notice", "Copied");
  } catch {
    tell("problem", "This browser does not let the page copy.");
  }
}

async function remove(message) {
  try {
    await api.remove(store.user, message.channel_id, message.id);
  } catch (error) {
    tell("problem", error.message);
  }
}
