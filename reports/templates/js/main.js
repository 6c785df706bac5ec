// Begins when the page is there: what needs no script is read meanwhile.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => navigator.clipboard.writeText(button.dataset.copy).then(() => { button.textContent = "copied"; }));
}
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) time.append(` (${at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })} where you are)`);
}
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; for (const details of closed) details.open = true; });
addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
const openTarget = () => {
  const target = location.hash.length > 1 && !location.hash.includes("?") && document.getElementById(location.hash.slice(1));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
};
addEventListener("hashchange", openTarget);
openTarget();
(async () => {
  // The first screen is painted before anything is unpacked.
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const data = document.getElementById("data");
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("found").textContent = "This browser cannot unpack the list of all paths: a newer one can, and the JSON report has it.";
    return;
  }
  const tables = JSON.parse(document.getElementById("tables").textContent);
  const model = await unpack(tables, data.textContent.trim());
  data.remove();
  document.getElementById("tables").remove();
  explore(model);
})();
