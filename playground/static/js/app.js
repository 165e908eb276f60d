// Puts the page together and says who one is.

import * as api from "./api.js";
import { openUserMenu } from "./apps.js";
import { composer } from "./composer.js";
import { h } from "./dom.js";
import { closeAll } from "./layers.js";
import { messageList } from "./messages.js";
import { listenForModals } from "./modal.js";
import { channels, header, hint, members, rail } from "./sidebar.js";
import { become, channel, on, open, remember, remembered, store, tell } from "./store.js";
import { toasts } from "./toasts.js";
import { typingLine } from "./typing.js";

const app = document.getElementById("app");

function build() {
  const toggleMembers = () => {
    const narrow = matchMedia("(max-width: 900px)").matches;
    app.classList.toggle(narrow ? "show-members" : "hide-members");
    if (!narrow) remember("members", app.classList.contains("hide-members") ? "hidden" : "shown");
  };
  if (remembered("members") === "hidden") app.classList.add("hide-members");
  const veil = h("div", { class: "veil", on: { click: () => app.classList.remove("show-left", "show-members") } });
  app.replaceChildren(rail(), channels(),
    h("main", { class: "chat" }, header(toggleMembers), h("div", { class: "chat-middle" },
      h("section", { class: "conversation", "aria-label": "Conversation" }, hint(), messageList(), composer(), typingLine()), members())),
    veil, toasts());
}

async function be(name) {
  closeAll();
  await become(name);
  document.title = `${store.user} · Local Discord`;
}

/** The servers' people have names that only `--users` knows, unless it is the usual ones. */
function ask(problem) {
  const name = h("input", { id: "who", autocomplete: "off", required: true });
  const form = h("form", { class: "who", on: { submit: async (event) => {
    event.preventDefault();
    await start(name.value.trim());
  } } }, h("h1", {}, "Who are you?"), h("p", {}, problem),
  h("label", { for: "who" }, "A name given to --users"), name,
  h("button", { class: "component-button primary" }, "Come in"));
  app.replaceChildren(form);
  name.focus();
}

async function start(name) {
  let problem;
  for (const candidate of new Set([name, "ada"])) {
    try {
      await api.state(candidate);
      build();
      await be(candidate);
      return;
    } catch (error) {
      problem = error;
      if (error.status !== 404) break;
    }
  }
  ask(problem.status === 404 ? `Nobody here is called ${name}.` : problem.message);
}

on("be", (name) => be(name).catch((error) => tell("problem", error.message)));

document.addEventListener("click", (event) => {
  const mention = event.target.closest?.(".mention");
  const { channel: place, user } = mention?.dataset ?? {};
  if (place && channel(place)) open(place);
  if (store.users.has(user)) openUserMenu(store.users.get(user), mention);
});

listenForModals();
await start(new URLSearchParams(location.search).get("user") ?? remembered("user") ?? "ada");
