// Begins when the page is there: what needs no script is read meanwhile.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => navigator.clipboard.writeText(button.dataset.copy).then(() => { button.textContent = "copied"; }));
}
addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details")) details.open = true; });
(async () => {
  const tables = JSON.parse(document.getElementById("tables").textContent);
  const data = document.getElementById("data");
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("found").textContent = "This browser cannot unpack the list of all paths: a newer one can, and the JSON report has it.";
    return;
  }
  const model = await unpack(tables, data.textContent.trim());
  data.remove();
  explore(model);
})();
