// The figures: pressing a box selects a layer; the overview scrolls, drags and zooms.
const canvas = byId("canvas");
const picture = canvas.querySelector("svg");
const NATURAL = picture.viewBox.baseVal;
let scale = 1;

function zoom(wanted, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const next = Math.min(6, Math.max(0.15, wanted));
  const left = ((canvas.scrollLeft + x) * next) / scale - x;
  const top = ((canvas.scrollTop + y) * next) / scale - y;
  scale = next;
  picture.setAttribute("width", NATURAL.width * scale);
  picture.setAttribute("height", NATURAL.height * scale);
  canvas.scrollTo(left, top);
}

const fit = (least = 0) => zoom(Math.max(least, Math.min(1.35, (canvas.clientWidth - 2) / NATURAL.width)));
byId("zoom-in").addEventListener("click", () => zoom(scale * 1.25));
byId("zoom-out").addEventListener("click", () => zoom(scale / 1.25));
byId("zoom-fit").addEventListener("click", () => fit());
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const frame = canvas.getBoundingClientRect();
  zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
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

function pressable(root, press) {
  for (const node of root.querySelectorAll(".n")) {
    const frame = node.getBBox ? node : null;
    node.addEventListener("click", () => grip?.far || press(Number(node.dataset.n)));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      press(Number(node.dataset.n));
    });
    node.addEventListener("focus", () => node.matches(":focus-visible") && mark(frame, "ring on"));
    node.addEventListener("blur", () => node.querySelector(".ring")?.remove());
  }
}

// A frame round a box: the one selected, or the one with the focus.
function mark(node, name) {
  const { x, y, width, height } = node.getBBox();
  node.append(element("<rect", { class: `mark ${name}`, x: x - 2, y: y - 2, width: width + 4, height: height + 4, rx: 2 }));
}

function marked(root, number) {
  root.querySelectorAll(".chosen").forEach((old) => old.remove());
  root.querySelectorAll("[aria-current]").forEach((old) => old.removeAttribute("aria-current"));
  const node = root.querySelector(`.n[data-n="${number}"]`);
  if (!node) return null;
  node.setAttribute("aria-current", "true");
  mark(node, "chosen");
  return node;
}

const narrow = matchMedia("(max-width:980px)");
const still = matchMedia("(prefers-reduced-motion:reduce)");

pressable(picture, (number) => {
  const { layers } = DATA.boxes[number];
  select(layers[layers.length - 1]);
  if (narrow.matches) byId("detail").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
});

watchers.push(() => {
  const place = PLACES[state.layer];
  const node = marked(picture, place ? place.box : -1);
  if (!node || narrow.matches) return;
  const box = node.getBoundingClientRect(), frame = canvas.getBoundingClientRect();
  if (box.top < frame.top || box.bottom > frame.bottom) canvas.scrollTop += box.top - frame.top - frame.height / 3;
  if (box.left < frame.left || box.right > frame.right) canvas.scrollLeft += box.left - frame.left - frame.width / 3;
});
