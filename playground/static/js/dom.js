// Elements without markup: text given here is always text, never HTML.

/**
 * h("button", {class: "x", on: {click}, "aria-label": "Close"}, "text", node, [more])
 * Unknown keys are attributes; false, null and undefined leave them out, true sets them empty.
 */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") {
      for (const [name, listener] of Object.entries(value)) node.addEventListener(name, listener);
    } else if (key === "style") {
      for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    } else if (key === "dataset") {
      Object.assign(node.dataset, value);
    } else if (key === "value") {
      node.value = value;
    } else {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** A button that does not submit; `label` is what it is called where it shows only an icon. */
export function button(className, label, onClick, ...children) {
  const props = { type: "button", class: className, on: { click: onClick } };
  if (label) Object.assign(props, { "aria-label": label, title: label });
  return h("button", props, ...children);
}

const ICONS = {
  hash: "M9.5 3 8 21M16.5 3 15 21M4 8.5h17M3 15.5h17",
  lock: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  at: "M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0zm0 0v1.5a2.5 2.5 0 0 0 5 0V12a9 9 0 1 0-3.6 7.2",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.6 2.9-6 6.500-6s6.500 2.400 6.500 6M16 4.300a3.500 3.500 0 0 1 0 6.500M18 14.300c2.200.900 3.500 3 3.500 5.700",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  smile: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.500 14.500c.8 1.300 2 2 3.500 2s2.700-.7 3.500-2M9 9.500v.5M15 9.500v.5",
  reply: "M10 5 4 11l6 6M4 11h9a7 7 0 0 1 7 7v1",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  dots: "M5 12h.01M12 12h.01M19 12h.01",
  apps: "M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM16.500 13.500v6M13.500 16.500h6",
  download: "M12 4v11M7.500 11 12 15.500 16.500 11M5 20h14",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9h.01",
  down: "M6 9l6 6 6-6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  menu: "M4 6h16M4 12h16M4 18h16",
  send: "M4 12 20 4l-5 16-3.500-6.500z",
  eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  warn: "M12 4 2.500 20h19zM12 10v5M12 17.500v.01",
  link: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  copy: "M8 8h12v12H8zM4 16V4h12",
  slash: "M15 4 9 20",
  thread: "M4 5h16v11h-9l-4 4v-4H4zM8 9h8M8 12.500h5",
  forum: "M3 4h13v9H9l-4 3v-3H3zM19 8h2v9h-2v3l-4-3h-5",
  check: "M5 12.500 10 17.500 19.500 7",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20.500c0-4 3.400-6.500 7.500-6.500s7.500 2.500 7.500 6.500",
};

export function icon(name, size = 20) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const attributes = {
    viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  svg.classList.add("icon");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${(bytes / 1000).toFixed(1)} KB`;
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
