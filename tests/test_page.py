"""The report: everything stored is in it, nothing in it needs a network, and the same results give the same bytes."""

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from common import verbs
from common.cli import main
from common.errors import Problem
from common.page import prose
from common.page.strip import HEIGHT, MARGIN, WIDTH, strip
from common.places import ROOT

RESULTS = ROOT / "results"
VOID = {"meta", "input", "img", "path", "circle", "br"}


class Page(HTMLParser):
    """The elements of a page: `all` as (tag, attributes, text), rows of the verdict table among them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        assert not self.open, [self.all[i][:2] for i in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.all.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in VOID:
            self.open.append(len(self.all) - 1)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.all[self.open[-1]][0] == tag, (tag, self.all[self.open[-1]][:2])
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.all[index][2].append(data)

    def each(self, *tags: str) -> list[dict[str, str]]:
        """Attributes of all elements of those kinds."""
        return [attributes for tag, attributes, _ in self.all if tag in tags]

    def text(self, place: str) -> str:
        """The words of the element with that id, and what its drawings tell."""
        (found,) = [i for i, (_, attributes, _) in enumerate(self.all) if attributes.get("id") == place]
        return " ".join("".join(self.all[found][2]).split())

    def rows(self) -> list[dict[str, str]]:
        """Attributes of the rows of verdicts."""
        return [attributes for attributes in self.each("tr") if "data-verdict" in attributes]


def stored() -> list[dict[str, Any]]:
    """The rows of every committed verdicts.json."""
    return [row for path in sorted(RESULTS.glob("*/*/verdicts.json")) for row in json.loads(path.read_text())["rows"]]


def made(folder: Path, *words: str, results: Path = RESULTS) -> str:
    """The text of a report of those results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATE_RESULTS", str(results))
        patch.setenv("REPLICATE_RUNS", str(folder / "absent"))
        verbs.report(*words, output=str(folder / "report.html"))
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Results of one paper at one tier that a test may change."""
    shutil.copytree(RESULTS / "scole" / "smoke", tmp_path / "results" / "scole" / "smoke")
    return tmp_path / "results"


# --- what is in it -----------------------------------------------------------------------------------------------


def test_every_judged_claim_is_in_it_with_its_verdict_and_every_seed(page: Page) -> None:
    places = {attributes["id"]: attributes for attributes in page.rows()}
    judged = [row for row in stored() if row["rule"] and row["n_seeds"]]
    assert len(judged) > 150
    for row in judged:
        place = f"c--{row['paper']}--{row['claim']}--{row['tier']}"
        attributes, words = places[place], page.text(place)
        assert attributes["data-verdict"] == row["verdict"]
        assert attributes["data-expected"] == ("yes" if row["as_expected"] else "no")
        assert " ".join(row["says"].split()) in words
        assert row["rule"] in words
        assert all(f"seed {seed}: " in words for seed in row["seeds"])
        assert all(run in words for run in row["run_ids"])
        assert row["reported"] is None or f"reported {row['reported']['value']:g}" in words
        assert row["mark"] in words


def test_a_claim_that_nothing_judges_stands_once(page: Page) -> None:
    ruled = {(row["paper"], row["claim"]) for row in stored() if row["rule"]}
    never = {(row["paper"], row["claim"]) for row in stored()} - ruled
    found = [attributes for attributes in page.rows() if attributes["data-expected"] == "-"]
    assert never
    assert len(found) == len(never) + sum(bool(row["rule"]) and not row["n_seeds"] for row in stored())


def test_the_header_counts_what_the_table_shows(page: Page) -> None:
    rows, text = stored(), page.text("contents")
    judged = [row for row in rows if row["rule"] and row["n_seeds"]]
    met = sum(row["as_expected"] for row in judged)
    claims = {(row["paper"], row["claim"]) for row in rows}
    assert f"{len({(r['paper'], r['claim']) for r in judged})} of {len(claims)}" in text
    assert f"{met} of {len(judged)} ({round(100 * met / len(judged))} %) verdicts as expected" in text


def test_every_figure_is_the_stored_file_and_every_table_is_there(page: Page) -> None:
    figures = sorted(path.read_bytes() for path in RESULTS.glob("*/*/*.png"))
    sources = [attributes["src"].removeprefix("data:image/png;base64,") for attributes in page.each("img")]
    assert sorted(map(base64.b64decode, sources)) == figures
    assert all("tier" in attributes["alt"] and len(attributes["alt"]) > 40 for attributes in page.each("img"))
    for path in RESULTS.glob("*/*/*.csv"):
        if path.with_suffix(".md").exists():
            words = page.text(f"f--{path.parent.parent.name}--{path.parent.name}--{path.stem}")
            with path.open(newline="") as file:
                assert all(" ".join(cell.split()) in words for line in csv.reader(file) for cell in line)


def test_a_figure_says_where_it_came_from(page: Page) -> None:
    from common.stamp import origin

    note = origin(RESULTS / "stability_gap" / "smoke" / "er.png")
    words = page.text("f--stability_gap--smoke--er")
    assert all(run in words for run in note["runs"])
    for told in (note["command"], note["table"], note["code"], note["about"], *note["data"], "cpu"):
        assert told in words


def test_deviations_and_findings_of_the_papers_are_in_it(page: Page) -> None:
    for folder in RESULTS.glob("*/smoke"):
        text = prose.read(ROOT / "papers" / folder.parent.name / "README.md")
        names = [str(line[0]) for line in prose.table(prose.section(text, "Deviations"))[1:]]
        assert names
        for name in names:
            assert page.text(f"d--{folder.parent.name}--{name}").startswith(name)
    assert "On digits the paper's picture is there as a whole" in "".join(page.all[0][2])


# --- how it is made ----------------------------------------------------------------------------------------------


def test_nothing_in_it_is_loaded_from_elsewhere(page: Page, text: str) -> None:
    loading = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "formaction")
    for _, attributes, _ in page.all:
        for name in loading:
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    assert not page.each("link", "iframe", "object", "embed", "base")
    styles = "".join("".join(words) for tag, _, words in page.all if tag in ("style", "script"))
    assert not any(word in styles for word in ("url(", "@import", "http", "fetch(", "import("))
    (policy,) = [a["content"] for a in page.each("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert str(ROOT) not in text


def test_links_lead_somewhere_and_everything_has_a_name(page: Page) -> None:
    places = [attributes["id"] for _, attributes, _ in page.all if "id" in attributes]
    assert len(places) == len(set(places))
    links = {attributes["href"].removeprefix("#") for attributes in page.each("a")}
    assert len(links) > 100
    assert links <= set(places)
    named = {attributes["for"] for attributes in page.each("label")}
    assert {attributes["id"] for attributes in page.each("select", "input")} == named
    assert all(attributes["scope"] in ("row", "col") for attributes in page.each("th"))
    assert page.each("html") == [{"lang": "en"}]
    assert all("aria-label" in a or "aria-hidden" in a for a in page.each("svg"))


def test_filters_offer_exactly_what_the_rows_have(page: Page) -> None:
    offered: dict[str, set[str]] = {}
    name = ""
    for tag, attributes, _ in page.all:
        name = attributes["name"] if tag == "select" else name
        if tag == "option" and attributes["value"]:
            offered.setdefault(name, set()).add(attributes["value"])
    assert set(offered) == {"paper", "tier", "verdict", "expected"}
    for name, values in offered.items():
        words = [row[f"data-{name}"] for row in page.rows()]
        assert values == {word for value in words for word in (value.split() if name == "tier" else [value])}


def test_the_same_results_give_the_same_bytes_without_torch(text: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom common.cli import main\n"
        "print(main(['report', '-o', 'new/again.html']), [m for m in ('torch', 'lightning', 'timm') if m in sys.modules])"
    )
    places = {"REPLICATE_RESULTS": str(RESULTS), "REPLICATE_RUNS": str(tmp_path / "none"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | places | {"PYTHONHASHSEED": "7", "LANG": "C", "TZ": "Asia/Tokyo"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0 []"
    assert (tmp_path / "new" / "again.html").read_text() == text


def test_what_files_hold_cannot_become_part_of_the_page(copy: Path, tmp_path: Path) -> None:
    evil = '</td><script>alert(\'x\')</script><img src="http://x" onerror="y">&amp; {{ 7 * 6 }}'
    path = copy / "scole" / "smoke" / "verdicts.json"
    content = json.loads(path.read_text())
    row = content["rows"][0]
    row |= {name: evil for name in ("says", "source", "mark", "note", "unit", "verdict", "claim", "tier")}
    row |= {"run_ids": [evil], "deviations": [evil]}
    row["reported"] = {"value": 1.0, "spread": 0.1, "n": 2, "unit": evil, "where": evil}
    path.write_text(json.dumps(content))
    page = Page(made(tmp_path, results=copy))
    assert len(page.each("script")) == 1
    assert all(a["src"].startswith("data:") for a in page.each("img"))
    assert sum(evil in "".join(words) for tag, _, words in page.all if tag == "div") > 1
    assert any(a.get("data-verdict") == evil for a in page.rows())


def test_what_no_longer_fits_is_called_so(copy: Path, tmp_path: Path) -> None:
    assert "No longer fits" not in made(tmp_path, results=copy)
    table = copy / "scole" / "smoke" / "studies_table.csv"
    table.write_text(table.read_text().replace("97.5", "99.9").replace("cycle", "circle"))
    assert "No longer fits its own note: it was changed by hand" in made(tmp_path, results=copy)
    runs = copy / "scole" / "smoke" / "runs.csv"
    runs.write_text(runs.read_text().replace("digits", "didgits", 1))
    text = made(tmp_path, results=copy)
    assert text.count("No longer fits the stored tables") == text.count("<figure ")


def test_a_part_can_be_asked_for(tmp_path: Path) -> None:
    text = made(tmp_path, "stability_gap", "smoke")
    rows = Page(text).rows()
    assert {row["data-paper"] for row in rows} == {"stability_gap"}
    assert {row["data-tier"] for row in rows} == {"smoke"}
    page = Page(made(tmp_path, "stability_gap/er"))
    assert "c--stability_gap--C1--small" in {row["id"] for row in page.rows()}
    assert len(page.rows()) < len(rows)
    assert 0 < len(page.each("img")) < text.count("<img ")


# --- the parts ---------------------------------------------------------------------------------------------------


def drawn(**changes: Any) -> tuple[Page, str]:
    row = {
        "seeds": [0, 1], "values": [0.0, 10.0], "interval": [0.0, 10.0], "measured": 5.0, "unit": "pp",
        "rule": "at least 5 pp", "reported": None,
    }  # fmt: skip
    text = str(strip(row | changes))
    return Page(text), text


def test_a_strip_puts_every_number_in_its_place() -> None:
    page, _ = drawn()
    (low, high), middle = [float(a["cx"]) for a in page.each("circle")], WIDTH / 2
    assert (low, high) == (MARGIN, WIDTH - MARGIN)
    paths = {a["class"]: a["d"] for a in page.each("path")}
    assert paths["bound"].startswith(f"M{middle:.1f} ")
    assert paths["mean"].startswith(f"M{middle:.1f} ")
    assert paths["side"] == f"M{middle:.1f} 2H{WIDTH:.1f}V32H{middle:.1f}z"
    assert drawn(rule="at most 5 pp")[0].each("path")[0]["d"] == f"M0.0 2H{middle:.1f}V32H0.0z"
    assert [a["y"] for a in page.each("text")] == [str(HEIGHT - 3)] * 2
    assert page.each("svg")[0]["aria-label"] == (
        "seed 0: 0.0 pp, seed 1: 10.0 pp; 95 % interval [0.0, 10.0]; rule: at least 5 pp"
    )


def test_a_strip_takes_what_verdicts_can_hold() -> None:
    assert drawn(values=[None, None], interval=None, measured=None)[1] == ""
    page, text = drawn(values=[None, 3.0], interval=None, measured=3.0, rule="reported 3 pp, n = 5")
    assert len(page.each("circle")) == 1
    assert "seed 0: not measured" in text
    assert not any(a["class"] in ("bound", "side", "interval") for a in page.each("path"))
    assert len(page.each("text")) == 1  # one value: one number below the middle
    told = {"value": 20.0, "spread": None, "n": None, "unit": "pp", "where": ""}
    page, text = drawn(reported=told)
    assert [float(a["cx"]) for a in page.each("circle")] == [MARGIN, WIDTH / 2]
    assert "the paper reports 20.0 pp" in text


def test_prose_is_read_as_these_files_use_it() -> None:
    text = (
        "\n# A *t*\n\nFirst `a*b*` <b>,\nsecond.\n\n```sh\nx\n```\n\n## One\n\nFew:\n\n- **a** and *b*\n  more\n- [c](d.md)\n\n"
        "| id | x |\n|---|:-:|\n| D1 | a \\| `b` |\n\n## Two\n\nlast\n"
    )
    assert prose.title(text, "") == "A *t*"
    assert prose.lead(text) == "<p>First <code>a*b*</code> &lt;b&gt;, second.</p>"
    one = prose.section(text, "One")
    assert prose.html(one) == ("<p>Few:</p>\n<ul>\n<li><strong>a</strong> and <em>b</em> more</li>\n<li>c</li>\n</ul>")
    assert prose.table(one) == [["id", "x"], ["D1", "a | <code>b</code>"]]
    assert prose.section(text, "Two") == "last"
    assert (prose.section(text, "Three"), prose.table("none"), prose.html(""), prose.lead("")) == ("", [], "", "")
    assert prose.title("no heading", "otherwise") == "otherwise"


# --- the command line --------------------------------------------------------------------------------------------


def test_the_command_line_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPLICATE_RESULTS", str(RESULTS))
    monkeypatch.chdir(tmp_path)
    assert main(["report", "coda_prompt", "--tier", "smoke"]) == 0
    size = (tmp_path / "report.html").stat().st_size
    assert capsys.readouterr().out.startswith(f"report.html ({size / 1e6:.1f} MB): 27 of 57 claims judged, ")
    assert main(["report", "coda_prompt", "--tier", "smoke", "--json", "-o", "again.html"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["file"], value["bytes"], value["papers"]) == ("again.html", size, ["coda_prompt"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("stabilty_gap", "There is no paper 'stabilty_gap'. Did you mean 'stability_gap'?"),
        ("task_incremental", "There is no paper 'task_incremental'. Did you mean stability_gap/task_incremental?"),
        ("scole/cycel", "Did you mean 'cycle'?"),
        ("scole --tier full", "No results of scole are stored at tier full. Stored: scole at smoke. Make them: "),
        ("l2m", "No results of l2m are stored. Make them: replicate run l2m --tier smoke."),
        ("scole --tier smal", "Did you mean 'small'?"),
        ("scole learner.alpha=1", "'learner.alpha=1' is no option here"),
        ("scole -o runs.csv", "Give a name that ends in .html."),
        ("scole -o .", "Give a name that ends in .html."),
        ("scole -o old.html/new.html", "Cannot write old.html/new.html: "),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_line_and_an_old_report_stays(
    words: str,
    told: str,
    copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REPLICATE_RESULTS", str(copy))
    monkeypatch.chdir(tmp_path)
    for name in ("report.html", "old.html", "runs.csv"):
        (tmp_path / name).write_text("as it was")
    assert main(["report", *words.split()]) == 1
    out, err = capsys.readouterr()
    assert told in err
    assert (out, err.count("\n")) == ("", 1)
    assert "Traceback" not in err
    assert {(tmp_path / name).read_text() for name in ("report.html", "old.html", "runs.csv")} == {"as it was"}


def test_files_without_an_origin_are_named_together(copy: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = copy / "scole" / "smoke"
    Image.new("L", (4, 4)).save(folder / "cycle.png")
    (folder / "balanced.png").write_bytes(b"no picture")
    with pytest.raises(Problem) as refused:
        made(tmp_path, results=copy)
    assert [m.split()[0] for m in refused.value.messages] == [str(folder / "cycle.png"), str(folder / "balanced.png")]
