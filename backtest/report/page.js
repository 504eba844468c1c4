/* Sorts a table by the column whose head is pressed, copies the lines of a block, opens what is folded before it is printed. */
"use strict";
(() => {
  const valueOf = (cell) => {
    const given = cell?.dataset.sort;
    const text = cell ? cell.textContent.trim() : "";
    return given !== undefined ? Number(given) : text === "" || text === "–" ? null : text;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));

  /* What is unknown stands last either way; what is equal keeps its order. */
  const sortBy = (table, head, place) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [valueOf(row.cells[place]), row]);
    rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b)));
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const printed = Number(table.dataset.printed || Infinity);
    rows.forEach(([, row], number) => row.classList.toggle("beyond", number >= printed));
    body.append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(table, head, place));
    });
  }

  for (const code of document.querySelectorAll(".code")) {
    const lines = code.querySelector("pre");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    code.prepend(button);
    const mark = () => {
      const range = document.createRange();
      range.selectNodeContents(lines);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    };
    const said = (done) => {
      button.textContent = done ? "copied" : "marked: copy it";
      setTimeout(() => (button.textContent = "copy"), 1500);
    };
    button.addEventListener("click", () => {
      mark();
      const copied = navigator.clipboard ? navigator.clipboard.writeText(lines.textContent) : Promise.reject();
      copied.then(() => said(true), () => said(document.execCommand("copy")));
    });
  }

  const folded = document.getElementsByTagName("details");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folded].filter((one) => !one.open);
    opened.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
})();
