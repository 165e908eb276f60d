// What the person knows: servers, channels, messages, interactions under way. Views listen.

import * as api from "./api.js";

const bus = new EventTarget();

/** Listen to a change; the listener gets its detail. */
export const on = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
export const tell = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));

export const PERMISSION = {
  ADD_REACTIONS: 1n << 6n,
  SEND_MESSAGES: 1n << 11n,
  MANAGE_MESSAGES: 1n << 13n,
  ATTACH_FILES: 1n << 15n,
  USE_COMMANDS: 1n << 31n,
  MANAGE_THREADS: 1n << 34n,
  CREATE_THREADS: 1n << 35n,
  CREATE_PRIVATE_THREADS: 1n << 36n,
  SEND_IN_THREADS: 1n << 38n,
};
export const TYPE = { TEXT: 0, DM: 1, PUBLIC_THREAD: 11, PRIVATE_THREAD: 12, FORUM: 15 };
export const FLAG = { EPHEMERAL: 1 << 6, LOADING: 1 << 7, NO_EMBEDS: 1 << 2, V2: 1 << 15 };

export const store = {
  user: "", // the name of who acts, kept over a reset of the server
  me: null,
  users: new Map(),
  application: null,
  guilds: [],
  dms: [],
  commands: [],
  connected: false,
  channelId: null,
  guildId: null, // null while a DM is shown
  rooms: new Map(), // channel id -> {messages, arrived (while they load), complete, loaded, loading}
  pending: new Map(), // nonce -> what the person did and is not answered
  typing: new Map(), // channel id -> Map(user id -> until)
};

let stopListening = () => {};

// -- finding ----------------------------------------------------------------------------------

export const guild = (id = store.guildId) => store.guilds.find((g) => g.id === id) ?? null;
export const hasBot = (server) => Boolean(server?.members.some((m) => m.user.id === store.application.bot.id));

export function channel(id = store.channelId) {
  for (const server of store.guilds) {
    const found = [...server.channels, ...server.threads].find((c) => c.id === id);
    if (found) return found;
  }
  return store.dms.find((c) => c.id === id) ?? null;
}

export const isDirect = (place) => place?.type === TYPE.DM;
export const isForum = (place) => place?.type === TYPE.FORUM;
export const isThread = (place) => place?.type === TYPE.PUBLIC_THREAD || place?.type === TYPE.PRIVATE_THREAD;
export const parentOf = (place) => (isThread(place) ? channel(place.parent_id) : null);
export const threadsOf = (place) => (guild(place.guild_id)?.threads ?? []).filter((t) => t.parent_id === place.id);
export const channelName = (place) =>
  isDirect(place) ? displayName(place.recipients[0]) : (place?.name ?? "unknown");

export function may(permission, place = channel()) {
  if (!place) return false;
  if (isDirect(place)) return permission !== PERMISSION.MANAGE_MESSAGES;
  if (permission === PERMISSION.SEND_MESSAGES && isThread(place)) return may(PERMISSION.SEND_IN_THREADS, place);
  return (BigInt(place.permissions ?? "0") & permission) === permission;
}

export function member(userId, server = guild()) {
  return server?.members.find((m) => m.user.id === userId) ?? null;
}

export function displayName(user, server = guild()) {
  return member(user.id, server)?.nick ?? user.global_name ?? user.username;
}

export const room = (id = store.channelId) => {
  if (!store.rooms.has(id)) {
    store.rooms.set(id, { messages: [], arrived: [], complete: false, loaded: false, loading: false });
  }
  return store.rooms.get(id);
};

export const message = (id, channelId = store.channelId) =>
  room(channelId).messages.find((m) => m.id === id) ?? null;

// -- starting ---------------------------------------------------------------------------------

/** Be that person: everything is asked for again. */
export async function become(name) {
  const answer = await api.state(name);
  stopListening();
  Object.assign(store, { user: answer.me.username, rooms: new Map(), pending: new Map() });
  take(answer);
  remember("user", store.user);
  const place = channel(remembered(`channel.${store.user}`)) ?? store.guilds[0]?.channels[0];
  stopListening = api.listen(answer.me.id, receive, connection);
  tell("person");
  if (place ?? store.dms[0]) await open((place ?? store.dms[0]).id);
}

export async function refresh() {
  try {
    take(await api.state(store.user));
  } catch (error) {
    tell("problem", error.message);
    return;
  }
  if (store.channelId && !channel()) {
    const place = store.guilds[0]?.channels[0] ?? store.dms[0];
    if (place) await open(place.id);
  }
  tell("state");
}

/** Make something (a thread, a server) and go there once the state knows it. */
export async function make(making) {
  try {
    const made = await making();
    await refresh();
    const place = made.channels ? made.channels[0] : made;
    if (channel(place.id)) await open(place.id);
  } catch (error) {
    tell("problem", error.message);
  }
}

function take(answer) {
  store.me = answer.me;
  store.users = new Map(answer.users.map((u) => [u.id, u]));
  store.application = answer.application;
  store.dms = answer.dms;
  store.commands = answer.commands;
  store.guilds = answer.guilds;
  for (const server of store.guilds) server.channels.sort((a, b) => a.position - b.position);
}

let soon;
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 60);
}

/** What happened before the first event was listened to, or while nothing was, is asked for. */
async function connection(connected) {
  store.connected = connected;
  tell("connection", connected);
  if (!connected) return;
  await refresh();
  for (const place of store.rooms.values()) place.loaded = false;
  if (store.channelId) await load(store.channelId);
}

// -- channels ---------------------------------------------------------------------------------

export async function open(id) {
  const place = channel(id);
  store.channelId = id;
  store.guildId = isDirect(place) ? null : place.guild_id;
  remember(`channel.${store.user}`, id);
  tell("channel");
  if (room(id).loaded) markRead(id);
  else await load(id);
}

/** The direct message with the bot, or with that person. */
export async function openDirect(other = null) {
  const direct = await api.openDirect(store.user, other);
  if (!store.dms.some((c) => c.id === direct.id)) store.dms.push(direct);
  await open(direct.id);
}

async function load(id) {
  const place = room(id);
  place.loading = true;
  place.arrived = [];
  try {
    const found = await api.history(store.user, id);
    place.complete = found.length < 50;
    const known = new Set(found.map((m) => m.id));
    place.messages = [...found, ...place.arrived.filter((m) => !known.has(m.id))];
    place.loaded = true;
  } catch (error) {
    tell("problem", error.message);
  } finally {
    place.loading = false;
  }
  if (id === store.channelId) {
    tell("messages");
    markRead(id);
  }
}

export async function loadOlder() {
  const id = store.channelId;
  const place = room(id);
  if (place.loading || place.complete || !place.loaded) return false;
  place.loading = true;
  try {
    const older = await api.history(store.user, id, place.messages[0]?.id);
    place.complete = older.length < 50;
    place.messages = [...older, ...place.messages];
  } catch (error) {
    tell("problem", error.message);
    return false;
  } finally {
    place.loading = false;
  }
  if (id === store.channelId) tell("older");
  return true;
}

// -- unread -----------------------------------------------------------------------------------

export function markRead(id) {
  const last = room(id).messages.at(-1)?.id ?? channel(id)?.last_message_id;
  if (last) remember(`read.${store.me.id}.${id}`, last);
  tell("unread");
}

export function isUnread(place) {
  if (place.id === store.channelId || !place.last_message_id) return false;
  const read = remembered(`read.${store.me.id}.${place.id}`) ?? "0";
  return BigInt(place.last_message_id) > BigInt(read);
}

export function remembered(key) {
  try {
    return localStorage.getItem(`local-discord.${key}`);
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(`local-discord.${key}`, value);
  } catch {
    // a browser that keeps nothing: the page works without
  }
}

// -- acting -----------------------------------------------------------------------------------

/** Begin an interaction; `about` says what to show while and in case it is not answered. */
export async function act(body, about = {}) {
  const nonce = crypto.randomUUID?.() ?? String(Math.random());
  const place = body.channel ?? store.channelId;
  const pending = { nonce, channelId: place, type: body.type, ...about };
  store.pending.set(nonce, pending);
  tell("pending", pending);
  try {
    const { id } = await api.interact({ user: store.user, channel: place, nonce, ...body });
    pending.id = id;
  } catch (error) {
    settle(nonce, "INTERACTION_FAILURE", { reason: error.message, refused: true });
    throw error;
  }
  return pending;
}

/** What was pending is answered. */
function settle(nonce, how, data) {
  const pending = store.pending.get(nonce);
  if (!pending) {
    if (how === "INTERACTION_FAILURE") giveUp(data);
    return;
  }
  if (how === "INTERACTION_FAILURE" && !data.refused) pending.failed = data.reason;
  else store.pending.delete(nonce);
  tell("settled", { pending, how, data });
}

/** An answer that was deferred and never came. */
function giveUp(data) {
  for (const { messages } of store.rooms.values()) {
    const waiting = messages.find((m) => m.interaction_metadata?.id === data.id && m.flags & FLAG.LOADING);
    if (!waiting) continue;
    waiting.unanswered = true;
    if (waiting.channel_id === store.channelId) tell("edited", waiting);
  }
}

export function forget(nonce) {
  const pending = store.pending.get(nonce);
  store.pending.delete(nonce);
  if (pending) tell("settled", { pending, how: "FORGOTTEN", data: {} });
}

// -- events -----------------------------------------------------------------------------------

function receive(name, data) {
  const handler = HANDLERS[name];
  if (handler) handler(data);
  else if (/^(INTERACTION_)/.test(name)) settle(data.nonce, name, data);
  else refreshSoon();
}

const HANDLERS = {
  INTERACTION_CREATE() {
    // the bot has it: the answer comes with another event
  },
  MESSAGE_CREATE(data) {
    const place = channel(data.channel_id);
    if (place) place.last_message_id = data.id;
    else refreshSoon();
    store.typing.get(data.channel_id)?.delete(data.author.id);
    const { messages, loaded, arrived } = room(data.channel_id);
    if (!loaded) arrived.push(data);
    if (!loaded || messages.some((m) => m.id === data.id)) {
      tell("unread");
      return;
    }
    messages.push(data);
    if (data.channel_id === store.channelId) {
      tell("message", data);
      if (document.hasFocus()) markRead(data.channel_id);
    }
    tell("unread");
  },
  MESSAGE_UPDATE(data) {
    const { messages } = room(data.channel_id);
    const index = messages.findIndex((m) => m.id === data.id);
    if (index < 0) return;
    messages[index] = { ...messages[index], ...data };
    if (!data.edited_timestamp) messages[index].edited_timestamp = null;
    if (!data.reactions) delete messages[index].reactions;
    if (data.channel_id === store.channelId) tell("edited", messages[index]);
  },
  MESSAGE_DELETE(data) {
    const place = room(data.channel_id);
    place.messages = place.messages.filter((m) => m.id !== data.id);
    if (data.channel_id === store.channelId) tell("deleted", data.id);
  },
  MESSAGE_REACTION_ADD: (data) => changeReaction(data, 1),
  MESSAGE_REACTION_REMOVE: (data) => changeReaction(data, -1),
  MESSAGE_REACTION_REMOVE_ALL: (data) => keepReactions(data, () => false),
  MESSAGE_REACTION_REMOVE_EMOJI: (data) =>
    keepReactions(data, (r) => r.emoji.name !== data.emoji.name),
  TYPING_START(data) {
    if (data.user_id === store.me.id) return;
    if (!store.typing.has(data.channel_id)) store.typing.set(data.channel_id, new Map());
    store.typing.get(data.channel_id).set(data.user_id, Date.now() + 10_000);
    tell("typing");
  },
  APPLICATION_STATUS(data) {
    store.application.online = data.online;
    store.application.activity = data.activity;
    tell("state");
  },
  // nobody is who they were: even ids are new
  RESET: () => become(store.user).catch((error) => tell("problem", error.message)),
};

function changeReaction(data, by) {
  const found = message(data.message_id, data.channel_id);
  if (!found) return;
  found.reactions ??= [];
  let reaction = found.reactions.find((r) => r.emoji.name === data.emoji.name);
  if (!reaction) {
    reaction = { emoji: data.emoji, count: 0, me: false };
    found.reactions.push(reaction);
  }
  reaction.count += by;
  if (data.user_id === store.me.id) reaction.me = by > 0;
  found.reactions = found.reactions.filter((r) => r.count > 0);
  if (data.channel_id === store.channelId) tell("edited", found);
}

function keepReactions(data, keep) {
  const found = message(data.message_id, data.channel_id);
  if (!found) return;
  found.reactions = (found.reactions ?? []).filter(keep);
  if (data.channel_id === store.channelId) tell("edited", found);
}
