// What an option takes: its choices, and whether what was entered is a value.

import { TYPE } from "./commands.js";
import { channelName, displayName, guild, store } from "./store.js";

const here = () => guild()?.members.map((m) => m.user) ?? [store.me, store.application.bot];

const people = () => here().map((u) => ({ name: `@${displayName(u)}`, value: u.id, description: u.username, also: u.username }));
const roles = () => (guild()?.roles ?? []).map((r) => ({ name: `@${r.name.replace(/^@/, "")}`, value: r.id, description: "Role" }));
const places = (option) => (guild()?.channels ?? [])
  .filter((c) => !option.channel_types?.length || option.channel_types.includes(c.type))
  .map((c) => ({ name: `#${channelName(c)}`, value: c.id }));

/** The fixed choices of an option, `{name, value, description?}`; null when one types freely. */
export function choicesOf(option) {
  if (option.choices?.length) {
    return option.choices.map((c) => ({ name: c.name_localizations?.[store.me.locale] ?? c.name, value: c.value }));
  }
  switch (option.type) {
    case TYPE.BOOLEAN: return [{ name: "True", value: true }, { name: "False", value: false }];
    case TYPE.USER: return people();
    case TYPE.ROLE: return roles();
    case TYPE.MENTIONABLE: return [...people(), ...roles()];
    case TYPE.CHANNEL: return places(option);
    default: return null;
  }
}

const bare = (text) => text.toLowerCase().replace(/^[@#]/, "");

export function fitting(choices, typed) {
  const words = bare(typed.trim());
  const starts = choices.filter((c) => bare(c.name).startsWith(words));
  return [...starts, ...choices.filter((c) => !starts.includes(c) && (bare(c.name).includes(words) || c.also?.includes(words)))];
}

/**
 * `{value}` or `{error}` of what was entered: text, the choice that was picked, an uploaded file.
 */
export function valueOf(option, { text, picked, file }) {
  if (option.type === TYPE.ATTACHMENT) {
    if (file?.id) return { value: file.id };
    return { error: file?.error ?? (file ? "Still uploading." : "Choose a file.") };
  }
  const typed = text.trim();
  if (!typed) return { error: option.required ? "This option is required. Specify a value." : "Specify a value." };
  const choices = choicesOf(option);
  if (choices) {
    const found = picked?.name === typed ? picked : choices.find((c) => bare(c.name) === bare(typed) || c.also === bare(typed));
    if (found) return { value: found.value };
    return { error: option.type === TYPE.BOOLEAN ? "Choose True or False." : "Choose one of the list." };
  }
  if (picked && picked.name === typed) return { value: picked.value };
  return option.type === TYPE.STRING ? checkText(option, typed) : checkNumber(option, typed);
}

function checkText({ min_length: low = 0, max_length: high = 6000 }, text) {
  const length = [...text].length;
  if (length < low) return { error: `At least ${low} characters.` };
  if (length > high) return { error: `At most ${high} characters (this is ${length}).` };
  return { value: text };
}

function checkNumber({ type, min_value: low, max_value: high }, text) {
  const whole = type === TYPE.INTEGER;
  const pattern = whole ? /^[-+]?\d+$/ : /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  const number = Number(text);
  if (!pattern.test(text) || !Number.isFinite(number) || Math.abs(number) > 2 ** 53) {
    return { error: whole ? "Enter a whole number." : "Enter a number." };
  }
  if ((low !== undefined && number < low) || (high !== undefined && number > high)) {
    if (low !== undefined && high !== undefined) return { error: `Enter a number from ${low} to ${high}.` };
    return { error: low !== undefined ? `Enter ${low} or more.` : `Enter ${high} or less.` };
  }
  return { value: number };
}
