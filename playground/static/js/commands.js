// Slash commands: which can be used here, what they are called, what their options take.

import { guild, hasBot, isDirect, isForum, may, parentOf, PERMISSION, store } from "./store.js";

export const TYPE = {
  SUB: 1, GROUP: 2, STRING: 3, INTEGER: 4, BOOLEAN: 5, USER: 6, CHANNEL: 7, ROLE: 8, MENTIONABLE: 9, NUMBER: 10, ATTACHMENT: 11,
};

/** `name` or `description` in the person's language. */
export function localized(thing, key) {
  return thing[`${key}_localizations`]?.[store.me?.locale] ?? thing[key];
}

/** Whether Discord's client would offer the command in the channel. */
export function usable(command, place) {
  if (!place) return false;
  const contexts = command.contexts ?? (command.dm_permission === false ? [0] : [0, 1, 2]);
  const [ofServer, ofPerson] = [0, 1].map((kind) => (command.integration_types ?? [0]).includes(kind));
  const own = ofPerson && !command.guild_id && store.application.installed;
  if (isDirect(place)) {
    const withBot = place.recipients[0].id === store.application.bot.id;
    return !command.guild_id && contexts.includes(withBot ? 1 : 2) && (own || (withBot && ofServer));
  }
  if (isForum(place) || (command.guild_id && command.guild_id !== place.guild_id)) return false;
  if (!contexts.includes(0) || (command.nsfw && !(parentOf(place) ?? place).nsfw)) return false;
  if (!may(PERMISSION.USE_COMMANDS, place)) return false;
  if (!hasBot(guild(place.guild_id))) return own;
  if (!command.guild_id && !ofServer) return false;
  const needed = command.default_member_permissions;
  if (needed === null || needed === undefined) return true;
  const ADMINISTRATOR = 1n << 3n;
  const granted = BigInt(place.permissions ?? "0");
  return Boolean(granted & ADMINISTRATOR) || (needed !== "0" && (granted & BigInt(needed)) === BigInt(needed));
}

/**
 * Every command a person can type, sub-commands one by one:
 * `{command, path: [name…], shown: "imagine", description, options}`.
 */
export function slashCommands(place) {
  const found = [];
  const walk = (command, part, path, shown) => {
    const deeper = (part.options ?? []).filter((o) => o.type === TYPE.SUB || o.type === TYPE.GROUP);
    if (deeper.length) {
      for (const o of deeper) walk(command, o, [...path, o], `${shown} ${localized(o, "name")}`);
    } else {
      found.push({ command, path, shown, description: localized(part, "description"), options: part.options ?? [] });
    }
  };
  for (const command of store.commands) {
    if (command.type === 1 && usable(command, place)) walk(command, command, [], localized(command, "name"));
  }
  return found.sort((a, b) => a.shown.localeCompare(b.shown));
}

/** As the bot named it, whatever the person's language: both can be typed. */
const originalName = ({ command, path }) => [command, ...path].map((part) => part.name).join(" ");

/** Those that fit what was typed after the slash, the best first. */
export function matching(typed, place) {
  const words = typed.toLowerCase().trimEnd();
  const rank = (entry) => {
    const names = [entry.shown, originalName(entry)];
    if (names.some((n) => n.startsWith(words))) return 0;
    if (names.some((n) => n.includes(words))) return 1;
    return 2;
  };
  return slashCommands(place).map((entry) => ({ entry, rank: rank(entry) }))
    .filter((r) => r.rank < 2).sort((a, b) => a.rank - b.rank).map((r) => r.entry);
}

/** The command that the text begins with (`imagine prompt: a cat`), and what follows its name. */
export function typedCommand(text, place) {
  const entries = slashCommands(place).sort((a, b) => b.shown.length - a.shown.length);
  const typed = text.toLowerCase();
  for (const entry of entries) {
    const name = [entry.shown, originalName(entry)].find((n) => typed.startsWith(`${n} `));
    if (name) return { entry, rest: text.slice(name.length + 1) };
  }
  return null;
}

/** Option values within the sub-commands they belong to, as the interaction carries them. */
export function nested(entry, values) {
  return [...entry.path].reverse().reduce((inner, part) => [{ name: part.name, type: part.type, options: inner }], values);
}

/** `prompt: a cat steps: 20` -> [[option, "a cat"], …]; text before the first name comes first. */
export function splitTyped(text, options) {
  const names = options.map((o) => localized(o, "name").replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!names.length) return { before: text, values: [] };
  const mark = new RegExp(`(?:^|\\s)(${names.join("|")}):`, "giu");
  const marks = [...text.matchAll(mark)];
  const values = marks.map((m, i) => {
    const option = options.find((o) => localized(o, "name").toLowerCase() === m[1].toLowerCase());
    return [option, text.slice(m.index + m[0].length, marks[i + 1]?.index ?? text.length).trim()];
  });
  return { before: marks.length ? text.slice(0, marks[0].index) : text, values };
}
