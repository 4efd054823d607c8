"use strict";
for (const button of document.querySelectorAll(".standings thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const best = button.dataset.order === "up" ? "descending" : "ascending";
    const other = best === "ascending" ? "descending" : "ascending";
    const way = head.getAttribute("aria-sort") === best ? other : best;
    for (const th of head.parentNode.children) th.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way);
    const value = (row) => row.children[column].dataset.v;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = button.dataset.order === "text" ? x.localeCompare(y) : x - y;
      return way === "ascending" ? order : -order;
    });
    body.append(...rows);
    const words = `Sorted by ${button.textContent.trim()}, ${way}.`;
    document.getElementById("sorted").textContent = words;
  });
}
