// A click on the header of a column sorts by it: numbers from the largest, names from A; a second click reverses.
document.querySelectorAll("table").forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const number = column > 0, first = number ? "descending" : "ascending";
    const second = number ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const key = row => number ? row.cells[column].dataset.value : row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);  // missing ones last
      return sign * (number ? x - y : x.localeCompare(y));
    });
    heads.forEach(other => other.setAttribute("aria-sort", other === head ? order : "none"));
    body.append(...rows);
  }));
});
