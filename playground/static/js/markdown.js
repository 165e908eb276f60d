// Discord's markdown as elements. Nothing here makes markup of what a person wrote.

import { h } from "./dom.js";
import { channel, displayName, guild, store } from "./store.js";

const HOLD = /[\\]([*_~`|<>#\-[\]()\\])/y;

const INLINE = [
  [/``(.+?)``(?!`)/sy, (m) => h("code", { class: "md-code" }, m[1].trim())],
  [/`([^`]+?)`/sy, (m) => h("code", { class: "md-code" }, m[1])],
  [/\|\|(.+?)\|\|/sy, (m, deep) => spoiler(inline(m[1], deep))],
  [/\*\*\*(?=\S)(.+?)\*\*\*/sy, (m, deep) => h("strong", {}, h("em", {}, inline(m[1], deep)))],
  [/\*\*(?=\S)(.+?)\*\*(?!\*)/sy, (m, deep) => h("strong", {}, inline(m[1], deep))],
  [/__(?=\S)(.+?)__(?!_)/sy, (m, deep) => h("u", {}, inline(m[1], deep))],
  [/~~(?=\S)(.+?)~~/sy, (m, deep) => h("s", {}, inline(m[1], deep))],
  [/\*(?=[^\s*])([^*]*(?:\*\*[^*]+\*\*[^*]*)*?[^\s*])\*(?!\*)|\*(?=[^\s*])([^*])\*/sy,
    (m, deep) => h("em", {}, inline(m[1] ?? m[2], deep))],
  [/_(?=\S)(.+?)_(?![\p{L}\p{N}_])/suy, (m, deep) => h("em", {}, inline(m[1], deep)), true],
  [/\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?(?:\s+"[^"\n]*")?\)/y,
    (m, deep) => anchor(m[2], inline(m[1], deep))],
  [/<(https?:\/\/[^\s>]+)>/y, (m) => anchor(m[1], [m[1]])],
  [/https?:\/\/[^\s<>|]*[^\s<>|.,:;"')\]!?*_~]/y, (m) => anchor(m[0], [m[0]])],
  [/<t:(-?\d{1,13})(?::([tTdDfFR]))?>/y, (m) => timestamp(Number(m[1]), m[2] ?? "f")],
  [/<@!?(\d+)>/y, (m) => mention(`@${userName(m[1])}`, { "data-user": m[1] })],
  [/<@&(\d+)>/y, (m) => mention(`@${roleName(m[1])}`)],
  [/<#(\d+)>/y, (m) => mention(`#${channel(m[1])?.name ?? "unknown"}`, { "data-channel": m[1] })],
  [/<\/([^:>\n]{1,100}):(\d+)>/y, (m) => mention(`/${m[1]}`)],
  [/<a?:(\w+):\d+>/y, (m) => `:${m[1]}:`],
  [/@(?:everyone|here)\b/y, (m) => mention(m[0])],
];

/** The whole of a message: blocks, then inline parts. */
export function markdown(text) {
  return h("div", { class: "markdown" }, blocks(text));
}

/** One line of it, for embed titles and the like. */
export function inlineMarkdown(text) {
  return inline(text, 0);
}

// -- blocks -----------------------------------------------------------------------------------

function blocks(text) {
  const made = [];
  const fence = /```(?:([\w+#.-]+)\n)?\n*([\s\S]+?)\n*```/g;
  let end = 0;
  for (const match of text.matchAll(fence)) {
    made.push(...lines(text.slice(end, match.index).replace(/\n$/, "")));
    made.push(h("pre", { class: "md-block" }, h("code", {}, match[2])));
    end = match.index + match[0].length;
  }
  made.push(...lines(end ? text.slice(end).replace(/^\n/, "") : text));
  return made;
}

function lines(text) {
  if (!text) return [];
  const made = [];
  const rest = text.split("\n");
  let plain = [];
  const flush = () => {
    if (plain.length) made.push(h("div", { class: "md-text" }, inline(plain.join("\n"), 0)));
    plain = [];
  };
  while (rest.length) {
    const line = rest[0];
    const heading = /^(#{1,3}) +(.+)/.exec(line);
    const subtext = /^-# +(.+)/.exec(line);
    if (/^>>> /.test(line)) {
      flush();
      made.push(h("blockquote", {}, lines(rest.join("\n").slice(4))));
      return made;
    }
    if (/^> /.test(line)) {
      flush();
      const quoted = [];
      while (rest.length && /^> /.test(rest[0])) quoted.push(rest.shift().slice(2));
      made.push(h("blockquote", {}, lines(quoted.join("\n"))));
    } else if (/^\s*([-*]|\d+\.) +\S/.test(line)) {
      flush();
      made.push(list(rest));
    } else if (heading) {
      flush();
      made.push(h(`h${heading[1].length + 2}`, { class: `md-h${heading[1].length}` }, inline(heading[2], 0)));
      rest.shift();
    } else if (subtext) {
      flush();
      made.push(h("small", { class: "md-sub" }, inline(subtext[1], 0)));
      rest.shift();
    } else {
      plain.push(rest.shift());
    }
  }
  flush();
  return made;
}

/** Takes the items at the start of `rest`; deeper ones are lists within. */
function list(rest) {
  const item = /^(\s*)([-*]|(\d+)\.) +(\S.*)/;
  const [, indent, , number] = item.exec(rest[0]);
  const made = number ? h("ol", { start: number }) : h("ul");
  while (rest.length) {
    const match = item.exec(rest[0]);
    if (!match || match[1].length < indent.length) break;
    if (match[1].length === indent.length && Boolean(match[3]) !== Boolean(number)) break;
    if (match[1].length > indent.length + 1 && made.lastChild) {
      made.lastChild.append(list(rest));
    } else {
      made.append(h("li", {}, inline(match[4], 0)));
      rest.shift();
    }
  }
  return made;
}

// -- inline -----------------------------------------------------------------------------------

function inline(text, depth) {
  if (depth > 12) return [text];
  const made = [];
  let plain = "";
  let at = 0;
  const put = (node) => {
    if (plain) made.push(plain);
    plain = "";
    if (node) made.push(node);
  };
  while (at < text.length) {
    HOLD.lastIndex = at;
    const held = HOLD.exec(text);
    if (held) {
      plain += held[1];
      at += 2;
      continue;
    }
    const found = match(text, at, depth);
    if (found) {
      put(found.node);
      at += found.length;
    } else {
      plain += text[at++];
    }
  }
  put(null);
  return made;
}

function match(text, at, depth) {
  if (!/[`|*_~[<h@]/.test(text[at])) return null;
  for (const [pattern, make, startsWord] of INLINE) {
    if (startsWord && at > 0 && /[\p{L}\p{N}]/u.test(text[at - 1])) continue;
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) return { node: make(found, depth + 1), length: found[0].length };
  }
  return null;
}

function anchor(url, content) {
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
}

function mention(text, data = {}) {
  const acts = data["data-user"] || data["data-channel"];
  return h(acts ? "button" : "span", { class: "mention", ...data, ...(acts ? { type: "button" } : {}) }, text);
}

const userName = (id) => {
  const user = store.users.get(id);
  return user ? displayName(user) : "unknown-user";
};
const roleName = (id) =>
  (guild()?.roles.find((r) => r.id === id)?.name ?? "unknown-role").replace(/^@/, "");

function spoiler(content) {
  const node = h("span", { class: "spoiler", role: "button", tabindex: "0", "aria-label": "Spoiler, press to show", "aria-expanded": "false" },
    h("span", { class: "spoiler-text", "aria-hidden": "true" }, content));
  const show = (event) => {
    if (node.classList.contains("shown") || (event.type === "keydown" && !["Enter", " "].includes(event.key))) return;
    event.preventDefault();
    event.stopPropagation();
    node.classList.add("shown");
    node.setAttribute("aria-expanded", "true");
    node.removeAttribute("aria-label");
    node.removeAttribute("role");
    node.removeAttribute("tabindex");
    node.firstChild.removeAttribute("aria-hidden");
  };
  node.addEventListener("click", show);
  node.addEventListener("keydown", show);
  return node;
}

// -- times ------------------------------------------------------------------------------------

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

export function format(date, style) {
  return new Intl.DateTimeFormat(store.me?.locale, STYLES[style]).format(date);
}

function timestamp(seconds, style) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `<t:${seconds}:${style}>`;
  const text = style === "R" ? relative(date) : format(date, style);
  const props = { class: "md-time", title: format(date, "F"), datetime: date.toISOString() };
  return h("time", style === "R" ? { ...props, "data-relative": seconds } : props, text);
}

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];

function relative(date) {
  let amount = (date - Date.now()) / 1000;
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) {
      const words = new Intl.RelativeTimeFormat(store.me?.locale, { numeric: "auto" });
      return words.format(Math.round(amount), unit);
    }
    amount /= size;
  }
  return "";
}

setInterval(() => {
  for (const node of document.querySelectorAll("time[data-relative]")) {
    node.textContent = relative(new Date(Number(node.dataset.relative) * 1000));
  }
}, 1000);
