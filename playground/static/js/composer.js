// Where one types: text, files, replies, and commands once a slash is typed.

import * as api from "./api.js";
import { matching, slashCommands, typedCommand } from "./commands.js";
import { avatar } from "./message.js";
import { button, h, icon } from "./dom.js";
import { fileTray } from "./filetray.js";
import { anyOpen } from "./layers.js";
import { openEmojiPicker, openMenu } from "./menus.js";
import { commandEditor } from "./options.js";
import { suggestions } from "./suggestions.js";
import { channel, channelName, displayName, isDirect, isForum, isThread, may, on, PERMISSION, store, tell, TYPE } from "./store.js";
import { askForThread } from "./threads.js";

export function composer() {
  const suggest = suggestions();
  const tray = fileTray();
  const drafts = new Map(); // channel id -> text not sent
  let shownChannel = null;
  let editor = null; // a command being filled in
  let replyTo = null;
  let sent = []; // what this person sent, the last at the end: {text} or {shown, values}
  let recalled = null; // its index in `sent`, while it stands here unchanged

  const text = h("textarea", { class: "plain", rows: 1, "aria-label": "Message", role: "combobox", "aria-autocomplete": "list",
    "aria-expanded": "false", maxlength: 4000, autocomplete: "off" });
  const field = h("div", { class: "field" }, text);
  const replyBar = h("div", { class: "reply-bar", hidden: true });
  const chooser = h("input", { type: "file", multiple: true, hidden: true, on: { change: () => {
    take([...chooser.files]);
    chooser.value = "";
  } } });
  const add = button("composer-button", "Add a file or a command", (event) => openMenu(event.currentTarget, [
    { label: "Upload a file", icon: icon("file", 18), action: () => chooser.click() },
    { label: "Use a command", icon: icon("slash", 18), action: () => startSlash() },
    ...threadItems(),
  ], { prefer: "above" }), icon("plus", 22));
  const threadItems = () => channel()?.type !== TYPE.TEXT ? [] : [
    may(PERMISSION.CREATE_THREADS) && { label: "Create a thread", icon: icon("thread", 18), action: () => askForThread() },
    may(PERMISSION.CREATE_PRIVATE_THREADS) && { label: "Create a private thread", icon: icon("lock", 18), action: () => askForThread({ isPrivate: true }) },
  ].filter(Boolean);
  const emoji = button("composer-button", "Emoji", (event) => openEmojiPicker(event.currentTarget, insertEmoji), icon("smile", 22));
  const sendButton = button("composer-button send", "Send", () => (editor ? editor.send() : send()), icon("send", 22));
  const bar = h("div", { class: "composer-bar" }, add, field, emoji, sendButton);
  const node = h("div", { class: "composer" }, suggest.node, replyBar, tray.node, bar, chooser);

  // -- text -------------------------------------------------------------------------------------

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, innerHeight / 2)}px`;
  }

  text.addEventListener("input", () => {
    recalled = null;
    grow();
    offer();
  });
  text.addEventListener("focus", offer);
  text.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const picking = suggest.open;
    if (picking && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      suggest.move(event.key === "ArrowDown" ? 1 : -1);
    } else if (picking && ["Tab", "Enter"].includes(event.key) && !event.shiftKey) {
      event.preventDefault();
      suggest.pick();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (["ArrowUp", "ArrowDown"].includes(event.key) && (!text.value || recalled !== null)) {
      event.preventDefault();
      recall(event.key === "ArrowUp" ? -1 : 1);
    } else if (event.key === "Escape") {
      if (!suggest.node.hidden) suggest.hide();
      else if (replyTo) setReply(null);
    }
  });

  /** The command picker, while what is typed begins with a slash. */
  function offer() {
    const typed = text.value;
    if (!typed.startsWith("/") || typed.includes("\n")) {
      suggest.hide();
      return;
    }
    const known = typedCommand(typed.slice(1), channel());
    if (known) {
      begin(known.entry, known.rest);
      return;
    }
    const entries = matching(typed.slice(1), channel());
    const rows = entries.map((entry) => ({
      label: [`/${entry.shown}`, ...entry.options.filter((o) => o.required).map((o) => h("span", { class: "suggest-option" }, o.name_localizations?.[store.me.locale] ?? o.name))],
      description: entry.description, hint: store.application.name, icon: avatar(store.application.bot, 32), entry }));
    const bot = h("span", { class: "suggest-caption" }, typed.length > 1 ? `Commands matching ${typed}` : store.application.name);
    const none = slashCommands(channel()).length ? "No command of that name" : "The bot has registered no commands for this channel";
    suggest.show({ title: bot, rows, field: text, pick: (row) => begin(row.entry), note: rows.length ? "" : none });
  }

  function startSlash() {
    if (editor) editor.close();
    toText("/");
    text.focus();
    offer();
  }

  // -- commands ---------------------------------------------------------------------------------

  /** What was sent before (-1) or after (1) what is recalled; an empty line after the last. */
  function recall(step) {
    if (editor && recalled === null) return;
    const to = (recalled ?? sent.length) + step;
    if (to < 0 || to > sent.length) return;
    const earlier = sent[to] ?? { text: "" };
    const entry = earlier.shown && slashCommands(channel()).find((e) => e.shown === earlier.shown);
    editor?.close();
    toText(earlier.text ?? "");
    suggest.hide();
    if (entry) {
      begin(entry);
      editor.restore(earlier);
    } else {
      text.focus();
    }
    recalled = sent[to] ? to : null;
  }

  function remember(what) {
    sent = [...sent, what].slice(-50);
    recalled = null;
  }

  function begin(entry, rest = "") {
    text.value = "";
    const made = commandEditor(entry, { suggest, onLeave: (typed) => {
      toText(typed);
      text.focus();
      suggest.hide();
    }, onSent: (what) => {
      remember(what);
      toText("");
      text.focus();
    }, onRefused: (reason) => {
      if (editor || text.value) {
        tell("problem", reason);
        return;
      }
      show(made);
      made.resume(reason);
    }, onRecall: recall });
    made.node.addEventListener("changed", () => {
      recalled = null;
    });
    show(made);
    if (rest.trim()) editor.fill(rest);
    else editor.focus();
  }

  function show(made) {
    editor = made;
    field.replaceChildren(made.node);
    bar.classList.add("commanding");
  }

  function toText(value) {
    editor = null;
    bar.classList.remove("commanding");
    text.value = value;
    if (text.parentNode !== field) field.replaceChildren(text); // moving it would lose the focus
    grow();
  }

  // -- sending ----------------------------------------------------------------------------------

  async function send() {
    const content = text.value.trim();
    if (!content && !tray.files.length) return;
    if (/^\/\w/.test(content) && !slashCommands(channel()).length) {
      tell("problem", "The bot has registered no commands for this channel yet. Try again in a moment.");
      return;
    }
    const files = tray.files.map((f) => f.sent());
    const draft = { content, replyTo: replyTo?.id, files, nonce: String(Date.now()) };
    const place = store.channelId;
    if (content) remember({ text: content });
    toText("");
    suggest.hide();
    tray.clear();
    setReply(null);
    try {
      await api.write(store.user, place, draft);
    } catch (error) {
      tell("problem", error.message);
      if (!text.value && store.channelId === place) toText(content);
    }
  }

  function insertEmoji(chosen) {
    if (editor) {
      document.execCommand("insertText", false, chosen);
      return;
    }
    text.focus();
    text.setRangeText(chosen, text.selectionStart, text.selectionEnd, "end");
    text.dispatchEvent(new Event("input"));
  }

  function setReply(message) {
    replyTo = message;
    replyBar.hidden = !message;
    if (!message) return;
    replyBar.replaceChildren("Replying to ", h("strong", {}, displayName(message.author)), h("span", { class: "spring" }),
      button("icon-button", "Stop replying", () => setReply(null), icon("close", 16)));
    text.focus();
  }

  // -- files ------------------------------------------------------------------------------------

  function take(files) {
    if (!files.length) return;
    if (editor && editor.attach(files)) return;
    if (!may(PERMISSION.ATTACH_FILES)) {
      tell("problem", "You may not send files in this channel.");
      return;
    }
    tray.add(files);
    if (!editor) text.focus();
  }

  // a click elsewhere closes the list of commands; coming back opens it again
  document.addEventListener("pointerdown", (event) => {
    if (!node.contains(event.target) && !anyOpen()) suggest.hide();
  });

  document.addEventListener("paste", (event) => {
    if (anyOpen() || !event.clipboardData?.files.length) return;
    event.preventDefault();
    take([...event.clipboardData.files]);
  });
  const drop = h("div", { class: "drop", hidden: true }, h("div", {}, icon("image", 48), h("strong", {}, "Drop to upload")));
  document.body.append(drop);
  let depth = 0;
  const dragged = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files") && !anyOpen();
  addEventListener("dragenter", (event) => {
    if (dragged(event)) drop.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (dragged(event)) drop.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.hidden = true;
    if (!anyOpen()) take([...event.dataTransfer.files]);
  });

  // -- where one is -----------------------------------------------------------------------------

  on("channel", () => {
    if (shownChannel === store.channelId) return;
    if (shownChannel && !editor) drafts.set(shownChannel, text.value);
    shownChannel = store.channelId;
    editor?.close();
    suggest.hide();
    setReply(null);
    tray.clear();
    toText(drafts.get(shownChannel) ?? "");
    draw();
    if (matchMedia("(hover: hover)").matches) text.focus();
  });
  on("person", () => {
    drafts.clear();
    sent = [];
    recalled = null;
    shownChannel = null;
    text.value = "";
  });
  on("state", () => {
    draw();
    // commands may arrive while one is being typed
    if (!editor && document.activeElement === text && text.value.startsWith("/")) offer();
  });
  on("reply", (message) => {
    if (editor) {
      editor.close();
      toText("");
    }
    setReply(message);
  });
  on("mention", (user) => {
    if (editor) return;
    text.value += `<@${user.id}> `;
    text.focus();
    grow();
  });
  // typing anywhere on the page goes here
  addEventListener("keydown", (event) => {
    const typing = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ";
    if (typing && !anyOpen() && !event.target.closest?.("input, textarea, [contenteditable], select")) (editor ?? text).focus();
  });

  function draw() {
    const place = channel();
    if (!place) return;
    node.hidden = isForum(place);
    const allowed = may(PERMISSION.SEND_MESSAGES);
    const name = `${isDirect(place) ? "@" : isThread(place) ? "" : "#"}${channelName(place)}`;
    text.placeholder = allowed ? `Message ${name}` : "You may not send messages in this channel.";
    text.disabled = !allowed && !may(PERMISSION.USE_COMMANDS);
    node.classList.toggle("closed", text.disabled);
  }
  return node;
}
