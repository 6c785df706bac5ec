"use strict";
// Filters the rows of a list by words and by kind. Without a script all rows are there.
(() => {
  for (const form of document.querySelectorAll("form[data-list]")) {
    const rows = [...document.getElementById(form.dataset.list).tBodies[0].rows];
    const found = form.querySelector("output");
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const filter = () => {
      const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kind = form.elements.kind.value;
      let shown = 0;
      rows.forEach((row, number) => {
        const fits = (!kind || row.dataset.kind === kind) && words.every((word) => texts[number].includes(word));
        row.hidden = !fits;
        shown += fits;
      });
      found.textContent = `${shown} of ${rows.length}`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }
})();
