// Two networks: pressing a row marks its boxes in both pictures, pressing a box marks its rows.
const byId = (id) => document.getElementById(id);
const DATA = JSON.parse(byId("data").textContent);
const rows = [...document.querySelectorAll("#table tbody tr")];
const TEXTS = rows.map((row) => row.textContent.toLowerCase());
const boxes = (rows) => ["a", "b"].flatMap((key) => Object.entries(DATA[key]).filter(([, own]) => own.some((i) => rows.includes(i)))
  .map(([number]) => document.querySelector(`[data-${key}="${number}"]`)).filter(Boolean));

function select(chosen) {
  rows.forEach((row, i) => row.classList.toggle("on", chosen.includes(i)));
  document.querySelectorAll(".n.on").forEach((node) => node.classList.remove("on"));
  boxes(chosen).forEach((node) => node.classList.add("on"));
}

function show() {
  const words = byId("filter").value.toLowerCase().replaceAll("×", "x").split(/\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, i) => {
    row.hidden = !words.every((word) => TEXTS[i].includes(word)) || (!words.length && row.classList.contains("equal") && !byId("equal").checked);
    count += row.hidden ? 0 : 1;
  });
  byId("shown").textContent = words.length ? `${count} of ${rows.length} rows` : "";
}
byId("filter").addEventListener("input", show);
byId("equal").addEventListener("change", show);
rows.forEach((row, i) => row.addEventListener("click", () => {
  select([i]);
  boxes([i])[0]?.scrollIntoView({ block: "nearest" });
}));
for (const key of ["a", "b"])
  for (const node of document.querySelectorAll(`[data-${key}]`)) {
    const press = () => {
      const own = DATA[key][node.dataset[key]];
      select(own);
      own.forEach((i) => (rows[i].hidden = false));
      rows[own[0]]?.parentElement.parentElement.parentElement.scrollTo({ top: rows[own[0]].offsetTop - 60 });
    };
    node.addEventListener("click", press);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      press();
    });
  }
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input,select")) return;
  event.preventDefault();
  byId("filter").focus();
});
const dark = matchMedia("(prefers-color-scheme:dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const named = () => (byId("theme").textContent = isDark() ? "Light theme" : "Dark theme");
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  named();
});
dark.addEventListener("change", named);
named();
document.documentElement.dataset.ready = "";
