"use strict";
// Filters of the verdict table. Without this script every row is shown and the form is not.
const form = document.getElementById("filters");
const rows = Array.from(document.querySelectorAll("#verdicts tbody tr"));
const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
const count = document.getElementById("count");

function wanted(row) {
  const { paper, tier, verdict, expected, text } = form.elements;
  return (!paper.value || row.dataset.paper === paper.value)
    && (!tier.value || row.dataset.tier.split(" ").includes(tier.value))
    && (!verdict.value || row.dataset.verdict === verdict.value)
    && (!expected.value || row.dataset.expected === expected.value)
    && text.value.toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word));
}

function apply() {
  for (const row of rows) row.hidden = !wanted(row);
  const shown = rows.filter((row) => !row.hidden);
  const met = shown.filter((row) => row.dataset.expected === "yes").length;
  const judged = shown.filter((row) => row.dataset.expected !== "-").length;
  count.textContent = `${shown.length} of ${rows.length} rows shown; ${judged} judged, ${met} of them as expected.`;
}

// A link to a row that the filters hide shows it.
function reveal() {
  const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (row && row.hidden) {
    form.reset();
    apply();
    row.scrollIntoView();
  }
}

form.addEventListener("input", apply);
form.addEventListener("reset", () => setTimeout(apply));
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", reveal);
form.hidden = false;
apply();
reveal();
