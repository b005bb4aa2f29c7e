// Live pages, keys, files that are dropped, and light or dark. Every page reads without it.
const root = document.documentElement;

const theme = document.getElementById("theme");
const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
if (kept()) root.dataset.theme = kept();
if (theme) {
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it lasts as long as the page */ }
  });
}

// Live: an event of the feed loads the parts of this page again, at most once in two seconds.
const live = document.getElementById("live");
if (live && document.querySelector("[data-live]") && location.search.indexOf("after=") < 0) {
  let waiting = false;
  let last = 0;
  const refresh = async () => {
    waiting = false;
    last = Date.now();
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelectorAll("[data-live]");
    document.querySelectorAll("[data-live]").forEach((part, index) => {
      if (!next[index] || part.contains(document.activeElement) || part.querySelector("details[open]")) return;
      const typed = [...part.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue);
      const scrolled = [...part.querySelectorAll(".scroll")].map((area) => area.scrollLeft);
      if (typed) return;
      part.replaceChildren(...next[index].childNodes);
      part.querySelectorAll(".scroll").forEach((area, at) => { area.scrollLeft = scrolled[at] || 0; });
    });
  };
  const soon = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(refresh, Math.max(300, 2000 - (Date.now() - last)));
  };
  const feed = new EventSource("/api/v1/events?after=now");
  const types = ["session.started", "session.updated", "session.settled", "session.corrected", "authorization.approved",
    "authorization.declined", "authorization.unknown", "hold.increased", "hold.released", "hold.expired", "capture.succeeded",
    "capture.failed", "refund.succeeded", "refund.failed", "receipt.issued", "invoice.issued", "account.topped_up",
    "account.debited", "account.closed", "charger.online", "charger.offline", "processor.up", "processor.down",
    "processor.draining", "processor.resumed", "reconciliation.differs", "reconciliation.reverted"];
  for (const type of types) feed.addEventListener(type, soon);
  feed.addEventListener("open", () => { live.hidden = false; live.classList.remove("off"); live.textContent = "live"; });
  feed.addEventListener("error", () => { live.classList.add("off"); live.textContent = "not live"; });
  addEventListener("pagehide", () => feed.close());
}

// Keys: "/" searches, "g" and a letter goes to a page, "j" and "k" move through rows, Enter opens one.
const goes = { o: "/", s: "/sessions", r: "/receipts", c: "/chargers", p: "/processors", a: "/accounts", b: "/reconciliation", l: "/ledger", t: "/tariffs", y: "/system" };
let going = 0;
let row = -1;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) {
    if (event.key === "k" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); document.querySelector(".search input")?.focus(); }
    return;
  }
  if (event.target.closest("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") { event.preventDefault(); document.querySelector(".search input")?.focus(); return; }
  if (event.key === "g") { going = Date.now(); return; }
  if (Date.now() - going < 1500 && goes[event.key]) { location.href = goes[event.key]; return; }
  if (event.key === "j" || event.key === "k") {
    const rows = [...document.querySelectorAll("main tbody tr")].filter((each) => each.querySelector("a"));
    if (!rows.length) return;
    rows[row]?.classList.remove("here");
    row = Math.min(rows.length - 1, Math.max(0, row + (event.key === "j" ? 1 : -1)));
    rows[row].classList.add("here");
    rows[row].querySelector("a").focus();
  }
});

// A file that is dropped or chosen becomes the text of the field.
for (const form of document.querySelectorAll("[data-drop]")) {
  const place = form.querySelector(".drop");
  const field = place.querySelector("textarea");
  const read = async (file) => {
    field.value = await file.text();
    const name = form.querySelector("[name=batch]");
    if (name && !name.value) name.value = file.name;
  };
  const choose = document.createElement("input");
  choose.type = "file";
  choose.setAttribute("aria-label", "Choose a settlement file");
  choose.addEventListener("change", () => { if (choose.files[0]) read(choose.files[0]); });
  place.after(choose);
  form.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  form.addEventListener("dragleave", () => place.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
  });
}
