// The picture: pressing a box selects a layer; it fits into view, scrolls, drags and zooms.
const canvas = byId("canvas");
const picture = canvas.querySelector("svg");
const FRAME = picture.viewBox.baseVal;
const LARGEST = 2; // a small network does not fill the screen
let scale = 1, whole = true;
const narrow = matchMedia("(max-width:980px)");
const still = matchMedia("(prefers-reduced-motion:reduce)");

function zoom(wanted, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const next = Math.min(6, Math.max(0.05, wanted));
  const left = ((canvas.scrollLeft + x) * next) / scale - x;
  const top = ((canvas.scrollTop + y) * next) / scale - y;
  scale = next;
  picture.setAttribute("width", FRAME.width * scale);
  picture.setAttribute("height", FRAME.height * scale);
  canvas.scrollTo(left, top);
}

function fit() {
  whole = true;
  const room = Math.max(200, innerHeight * (narrow.matches ? 0.5 : 0.76));
  zoom(Math.min(LARGEST, (canvas.clientWidth - 1) / FRAME.width, room / FRAME.height));
}
function zoomed(by, x, y) {
  whole = false;
  zoom(scale * by, x, y);
}
new ResizeObserver(() => whole && fit()).observe(canvas);
byId("zoom-in").addEventListener("click", () => zoomed(1.25));
byId("zoom-out").addEventListener("click", () => zoomed(1 / 1.25));
byId("zoom-fit").addEventListener("click", fit);
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const frame = canvas.getBoundingClientRect();
  zoomed(Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
}, { passive: false });

let grip = null;
canvas.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse" && event.button === 0)
    grip = { x: event.clientX, y: event.clientY, left: canvas.scrollLeft, top: canvas.scrollTop, far: false };
});
addEventListener("pointermove", (event) => {
  if (!grip) return;
  const dx = event.clientX - grip.x, dy = event.clientY - grip.y;
  if (Math.hypot(dx, dy) > 4) grip.far = true;
  canvas.classList.toggle("drag", grip.far);
  if (grip.far) canvas.scrollTo(grip.left - dx, grip.top - dy);
});
addEventListener("pointerup", () => {
  canvas.classList.remove("drag");
  setTimeout(() => (grip = null)); // after the click that a drag ends with
});

function pressable(nodes, press) {
  for (const node of nodes) {
    node.addEventListener("click", () => grip?.far || press(node));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      press(node);
    });
    node.addEventListener("focus", () => node.matches(":focus-visible") && mark(node, "ring on"));
    node.addEventListener("blur", () => node.querySelector(".ring")?.remove());
  }
}

// A frame round a box: the one selected, or the one with the focus.
function mark(node, name) {
  const { x, y, width, height } = (node.querySelector("[data-layer]") ?? node).getBBox();
  node.append(element("<rect", { class: `mark ${name}`, x: x - 2, y: y - 2, width: width + 4, height: height + 4, rx: 2 }));
}

function marked(selector) {
  picture.querySelectorAll(".chosen").forEach((old) => old.remove());
  picture.querySelectorAll("[aria-current]").forEach((old) => old.removeAttribute("aria-current"));
  const nodes = selector ? picture.querySelectorAll(selector) : [];
  for (const node of nodes) {
    node.setAttribute("aria-current", "true");
    mark(node, "chosen");
  }
  return nodes[0];
}

pressable(picture.querySelectorAll("[data-n]"), (node) => {
  const { layers } = DATA.boxes[node.dataset.n];
  select(layers[layers.length - 1]);
  shown();
});

// What is selected: the box, in an open box also the layer's own.
function current() {
  const place = PLACES[state.layer];
  if (!place) return "";
  const { inner } = DATA.boxes[place.box];
  const number = inner === null ? -1 : DATA.insides[inner].findIndex((layers) => layers.includes(place.place));
  return `[data-n="${place.box}"],[data-of="${place.box}"] [data-i="${number}"]`;
}
watchers.push(() => {
  const node = marked(current());
  for (const wire of picture.querySelectorAll("[data-from]")) wire.classList.toggle("near", [wire.dataset.from, wire.dataset.to].includes(node?.querySelector("[data-layer]")?.dataset.layer));
  if (!node || whole) return;
  const box = node.getBoundingClientRect(), frame = canvas.getBoundingClientRect();
  if (box.top < frame.top || box.bottom > frame.bottom) canvas.scrollTop += box.top - frame.top - frame.height / 3;
  if (box.left < frame.left || box.right > frame.right) canvas.scrollLeft += box.left - frame.left - frame.width / 3;
});
