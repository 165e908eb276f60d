// The control protocol (playground/README.md): what the person in this page does.

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function call(method, path, body) {
  const request = { method, headers: {} };
  if (body instanceof FormData) {
    request.body = body;
  } else if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`/control${path}`, request);
  } catch {
    throw new ApiError("The local Discord does not answer. Is it still running?", 0, 0);
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = { message: text };
  }
  if (!response.ok) {
    throw new ApiError(reason(answer, response.status), response.status, answer?.code ?? 0);
  }
  return answer;
}

/** The sentence, and what is wrong with which field where Discord says so. */
function reason(answer, status) {
  const nested = [];
  const walk = (value) => {
    if (Array.isArray(value?._errors)) nested.push(...value._errors.map((e) => e.message));
    else if (value && typeof value === "object") Object.values(value).forEach(walk);
  };
  walk(answer?.errors);
  return [answer?.message || `The local Discord answered ${status}.`, ...nested].join(" ");
}

const q = encodeURIComponent;
const messages = (channel) => `/channels/${q(channel)}/messages`;

export const state = (user) => call("GET", `/state?user=${q(user)}`);

export function history(user, channel, before, limit = 50) {
  const older = before ? `&before=${q(before)}` : "";
  return call("GET", `${messages(channel)}?user=${q(user)}&limit=${limit}${older}`);
}

export function write(user, channel, { content, replyTo, nonce, files = [] }) {
  const body = { user, content, nonce };
  if (replyTo) body.reply_to = replyTo;
  if (!files.length) return call("POST", messages(channel), body);
  return call("POST", messages(channel), form(body, files));
}

export const remove = (user, channel, message) =>
  call("DELETE", `${messages(channel)}/${q(message)}?user=${q(user)}`);

/** A person's language is set through a server they are in. */
export const speak = (guild, userId, locale) =>
  call("PATCH", `/guilds/${q(guild)}/members/${q(userId)}`, { locale });

export const openDirect = (user, other) => call("POST", "/dms", { user, with: other });

/** `{name, private?, message?, content?}`: a thread, or a forum's post. */
export const beginThread = (user, channel, thread) => call("POST", `/channels/${q(channel)}/threads`, { user, ...thread });
export const changeThread = (user, thread, changes) => call("PATCH", `/channels/${q(thread)}/thread`, { user, ...changes });
export const letIn = (user, thread, who) => call("PUT", `/channels/${q(thread)}/members/${q(who)}?user=${q(user)}`);
export const putOut = (user, thread, who) => call("DELETE", `/channels/${q(thread)}/members/${q(who)}?user=${q(user)}`);

export const install = (user, wanted) => call(wanted ? "PUT" : "DELETE", `/installs/${q(user)}`);
export const addServer = (owner, name, bot) => call("POST", "/guilds", { name, owner, bot });
export const addChannel = (guild, name, type) => call("POST", `/guilds/${q(guild)}/channels`, { name, type });

const reaction = (user, channel, message, emoji) =>
  `${messages(channel)}/${q(message)}/reactions/${q(emoji)}?user=${q(user)}`;
export const react = (...place) => call("PUT", reaction(...place));
export const unreact = (...place) => call("DELETE", reaction(...place));

export const interact = (act) => call("POST", "/interactions", act);

export function upload(user, channel, file) {
  return call("POST", "/attachments", form({ user, channel }, [file]));
}

function form(payload, files) {
  const data = new FormData();
  data.append("payload_json", JSON.stringify(payload));
  files.forEach((file, index) => data.append(`files[${index}]`, file, file.name));
  return data;
}

/**
 * The person's events, for as long as the page is open: reconnects after 0.5 s, 1 s, … 10 s.
 * `onState(connected)` says whether they come.
 */
export function listen(user, onEvent, onState) {
  let socket;
  let timer;
  let failures = 0;
  let closed = false;
  const open = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/control/events?user=${q(user)}`);
    socket.onopen = () => {
      failures = 0;
      onState(true);
    };
    socket.onmessage = (message) => {
      const { t, d } = JSON.parse(message.data);
      onEvent(t, d);
    };
    socket.onclose = () => {
      if (closed) return;
      onState(false);
      timer = setTimeout(open, Math.min(10_000, 500 * 2 ** failures++));
    };
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    socket.close();
  };
}
