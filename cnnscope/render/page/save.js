// The picture as it is now, as an SVG file that needs nothing of this page.
const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "paint-order", "font-family"];

function saved() {
  const copy = picture.cloneNode(true);
  const from = [...picture.querySelectorAll("*")], to = [...copy.querySelectorAll("*")];
  from.forEach((node, i) => {
    const look = getComputedStyle(node);
    for (const name of KEPT) {
      const shown = look.getPropertyValue(name);
      if (node.localName !== "g" || name === "opacity") to[i].setAttribute(name, shown);
    }
    for (const name of ["class", "role", "tabindex", "aria-label", "aria-current", "aria-expanded"]) to[i].removeAttribute(name);
  });
  from.forEach((node, i) => node.matches(".fold,.mark") && to[i].remove());
  const { x, y, width, height } = FRAME;
  const ground = getComputedStyle(document.documentElement).backgroundColor;
  copy.prepend(element("<title", {}, DATA.name), element("<rect", { x, y, width, height, fill: ground }));
  copy.setAttribute("width", `${Math.round(width)}pt`);
  copy.setAttribute("height", `${Math.round(height)}pt`);
  copy.setAttribute("role", "img");
  return new XMLSerializer().serializeToString(copy);
}

byId("save").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([saved()], { type: "image/svg+xml" }));
  element("a", { href: address, download: `${DATA.file}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
});
