// What lies above the page: dialogs, menus. Escape closes the topmost; focus goes back.

const open = [];

/**
 * Show `node`; returns the function that closes it. `back` gets the focus then.
 * A dialog (aria-modal) keeps Tab inside.
 */
export function layer(node, { focus, back = document.activeElement, onClose, outside = false } = {}) {
  const place = document.getElementById("layers");
  const entry = { node, outside, close };
  // a message's button may have been made anew meanwhile
  const message = back?.closest?.(".message")?.id;
  const customId = back?.dataset?.customId;
  const successor = () => message && customId &&
    document.querySelector(`#${message} [data-custom-id="${CSS.escape(customId)}"]`);
  function close() {
    const index = open.indexOf(entry);
    if (index < 0) return;
    open.splice(index, 1);
    node.remove();
    onClose?.();
    (back?.isConnected ? back : successor())?.focus({ preventScroll: true });
  }
  open.push(entry);
  place.append(node);
  node.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && node.getAttribute("aria-modal")) trap(node, event);
  });
  (focus ?? node).focus?.({ preventScroll: true });
  return close;
}

export const anyOpen = () => open.length > 0;

export function closeAll() {
  for (const entry of [...open].reverse()) entry.close();
}

function trap(node, event) {
  const inside = [...node.querySelectorAll("button, a[href], input, textarea, select, [tabindex='0']")].filter(
    (n) => !n.disabled && n.offsetParent !== null);
  if (!inside.length) return;
  const edge = event.shiftKey ? inside[0] : inside.at(-1);
  if (document.activeElement === edge) {
    event.preventDefault();
    (event.shiftKey ? inside.at(-1) : inside[0]).focus();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && open.length && !event.defaultPrevented) {
    event.preventDefault();
    event.stopPropagation();
    open.at(-1).close();
  }
}, true);

document.addEventListener("pointerdown", (event) => {
  const top = open.at(-1);
  if (top?.outside && !top.node.contains(event.target)) top.close();
}, true);

/** Put a floating node beside `anchor` (an element or {x, y}), inside the window. */
export function placeBeside(node, anchor, prefer = "below") {
  const box = anchor instanceof Element
    ? anchor.getBoundingClientRect()
    : { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y };
  const { offsetWidth: width, offsetHeight: height } = node;
  const room = { below: innerHeight - box.bottom, above: box.top };
  const below = prefer === "below" ? room.below >= height + 8 || room.below > room.above : room.above < height + 8 && room.below > room.above;
  const top = below ? box.bottom + 4 : box.top - height - 4;
  const left = prefer === "left" ? box.right - width : box.left;
  node.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
  node.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
}
