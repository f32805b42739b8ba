"""What people see of groups, what they answer, and that it is read back as it was meant."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from browser import asked_for, chromium
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import AttributesConfig, RationaleConfig, TaxonomyConfig, fit_scheme
from mcstl.groups.combined import CombineConfig, settled
from mcstl.groups.label_leakage import label_auc, leakage_message
from mcstl.groups.review import choose_k, expert_sheets, summaries
from mcstl.groups.review.summaries import Summariser
from mcstl.labelling import inferred_rationales
from mcstl.labelling.llm import Client, Template
from model_server import serving
from test_groups import CHESS, COOKS, SAILORS

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder()


def told(rationales: list[str], **columns: object) -> Annotations:
    n = len(rationales)
    frame = pd.DataFrame(
        {
            "text": [f"t{i}" for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "rationale": rationales,
            **columns,
        }
    )
    return Annotations.from_frame(frame, task="binary", labels={"no": [0], "yes": [1]})


@pytest.fixture(scope="module")
def data() -> Annotations:
    return told([*CHESS, *COOKS, EVIL, *SAILORS], gender=["Woman", "Man"] * 6 + ["Man"])


# --- summaries


def test_a_summary_says_who_is_in_a_group_and_what_they_say(
    data: Annotations, encoder: Encoder
) -> None:
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    S = scheme.assign(data, encoder)
    found = summaries.summarise(scheme.groups, S, data, encoder)
    assert [each.size for each in found] == [group.size for group in scheme.groups]
    cooks = next(each for each in found if "butter" in each.phrases)
    assert set(cooks.nearest) <= {*COOKS, EVIL}
    assert not set(cooks.nearest) & set(cooks.contrasting)
    vectors = encoder.encode([*cooks.nearest, *cooks.contrasting])
    members = S[:, [[each.name for each in found].index(cooks.name)]].toarray().ravel() > 0
    centre = encoder.encode(list(data.frame["rationale"][members])).mean(axis=0)
    apart = np.linalg.norm(vectors - centre, axis=1)
    assert (np.diff(apart[: len(cooks.nearest)]) >= -1e-6).all()
    assert apart[: len(cooks.nearest)].max() <= apart[len(cooks.nearest) :].min(initial=9)
    assert sum(cooks.rates.values()) == pytest.approx(1)
    assert {answer for answer, _ in cooks.people["gender"]} <= {"Woman", "Man"}


def test_groups_without_rationales_have_a_summary_too(encoder: Encoder) -> None:
    frame = pd.DataFrame({"text": list("abcd"), "label": [0, 1, 1, 1], "gender": list("wwmm")})
    rows = Annotations.from_frame(frame)
    scheme = fit_scheme(AttributesConfig(min_size=1), rows)
    men, women = summaries.summarise(scheme.groups, scheme.assign(rows), rows, encoder)
    assert men.rates == {"0": 0, "1": 1}
    assert (women.size, women.phrases, women.nearest) == (2, [], [])


def test_a_language_model_summarises_what_belongs_to_a_group(
    data: Annotations, encoder: Encoder
) -> None:
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    S = scheme.assign(data, encoder)
    found = summaries.summarise(scheme.groups, S, data, encoder)
    with serving(lambda text, _: "Of boats." if "harbour" in text else " ") as server:
        client = Client("m", base_url=server.url)
        asker = Summariser(client, Template("summary"))
        asked = summaries.summary_prompts(scheme.groups, S, data, encoder, asker)
        said = [each.llm_summary for each in summaries.add_llm_summaries(found, asked, client)]
    assert said.count("Of boats.") == 1
    assert sum("no usable reply" in each for each in said) == 2
    for prompt, column in zip(asked, S.toarray().T, strict=True):
        lines = [json.loads(x[2:]) for x in prompt.user.splitlines() if x.startswith("- ")]
        assert sorted(lines) == sorted(set(data.frame["rationale"][column > 0]))
        # Nothing but the task of A.3: no limit, no form of the reply.
        assert prompt.system == "You are a helpful assistant."
        assert prompt.user.partition("\n")[0] == (
            "Summarize the core theme in the given set of text items:"
        )


def test_a_brief_summary_is_of_the_sixty_nearest_rationales(encoder: Encoder) -> None:
    table = pd.DataFrame({"text": "t", "label": [0, 1] * 50, "group": "a"})
    table["rationale"] = [f"reason {i}" for i in range(100)]
    rows = Annotations.from_frame(table)
    scheme = fit_scheme(AttributesConfig(min_size=1), rows)
    S = scheme.assign(rows)
    asker = Summariser(Client("m", base_url="http://localhost"), Template("summary"))
    (whole,) = summaries.summary_prompts(scheme.groups, S, rows, encoder, asker)
    (brief,) = summaries.summary_prompts(
        scheme.groups, S, rows, encoder, asker._replace(brief=True)
    )
    reasons = [line for line in whole.user.splitlines() if line.startswith("- ")]
    assert len(reasons) == 100
    assert [x for x in brief.user.splitlines() if x.startswith("- ")] == reasons[:60]
    assert "40 words" in brief.user


# --- the choice of K


def test_the_page_and_its_form(tmp_path: Path, data: Annotations, encoder: Encoder) -> None:
    with serving(lambda text, _: f"Theme of {len(text)} letters.") as server:
        asker = Summariser(Client("k", base_url=server.url), Template("summary"))
        found = choose_k.compare_options(RationaleConfig(), data, encoder, range(2, 5), asker)
    assert [each.candidate.k for each in found] == [2, 3, 4]
    assert all(-1 <= each.summary_overlap <= 1 for each in found)
    page = choose_k.write_page(tmp_path, found, "mine").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page
    assert page.count("Theme of") == 9
    assert "http" not in re.sub(r"http-equiv", "", page)  # nothing is loaded
    with (tmp_path / choose_k.FORM).open() as form:
        rows = list(csv.DictReader(form))
    assert [row["k"] for row in rows] == ["2", "3", "4"]
    rows[1] |= {"chosen": "x", "who": "Dr. A", "why": "4 repeats 2, says who should know"}
    with (tmp_path / choose_k.FORM).open("w", newline="") as file:
        writer = csv.DictWriter(file, choose_k.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    chosen = choose_k.read_choice(tmp_path / choose_k.FORM)
    assert chosen == choose_k.Choice(3, "Dr. A", "4 repeats 2, says who should know")
    for _ in range(2):  # who chooses again is recorded too
        held = choose_k.record_choice(tmp_path / choose_k.FORM, chosen)
    records = json.loads(held.read_text())
    assert [each["who"] for each in records] == ["Dr. A", "Dr. A"]
    assert records[0]["figures"]["k"] == 3
    with pytest.raises(InputError, match="K = 9 is not on the page; it has 2, 3, 4"):
        choose_k.record_choice(tmp_path / choose_k.FORM, chosen._replace(k=9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k,chosen,who,why\n2,,,\n", "0 rows are marked"),
        ("k,chosen,who,why\n2,x,me,so\n3,x,me,so\n", "2 rows are marked"),
        ("k,chosen,who,why\n2,x,,so\n", "say who"),
        ("k,chosen,who,why\n2,x,me,\n", "say why"),
        ("k,chosen,who,why\ntwo,x,me,so\n", "k is 'two'"),
        ("k,chosen\n2,x\n", "column 'who' is not in"),
    ],
)
def test_a_form_that_says_nothing_clear_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "form.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        choose_k.read_choice(tmp_path / "form.csv")


def test_a_number_that_was_chosen_holds_for_the_other_seeds(
    data: Annotations, encoder: Encoder
) -> None:
    config = CombineConfig(
        combine=(RationaleConfig(k="auto"), AttributesConfig(min_size=1), RationaleConfig(k=2))
    )
    scheme = fit_scheme(RationaleConfig(k="auto"), data, encoder)
    chosen = settled(RationaleConfig(k="auto"), scheme)
    assert isinstance(chosen, RationaleConfig)
    assert chosen.k == len(scheme.groups)
    both = settled(config, fit_scheme(config, data, encoder))
    assert isinstance(both, CombineConfig)
    assert [getattr(each, "k", None) for each in both.combine] == [chosen.k, None, 2]


# --- experts


def sheets_of(n: int = 40, **options: int) -> list[list[expert_sheets.Row]]:
    rows = told(
        [f"reason {i}" for i in range(n)], values=["A|B" if i % 4 else "A" for i in range(n)]
    )
    scheme = fit_scheme(TaxonomyConfig(min_size=1), rows)
    return expert_sheets.draw_sheets(scheme.groups, scheme.assign(rows), rows, **options)


def test_experts_get_distinct_instances_and_some_in_common() -> None:
    sheets = sheets_of(experts=3, per_class=12, shared=3)
    ids = [{row["id"] for row in sheet} for sheet in sheets]
    common = ids[0] & ids[1] & ids[2]
    assert len(common) == 2 * 3
    assert len(set().union(*ids)) == 2 * 12
    assert (ids[0] & ids[1]) == common
    assert [len(each) for each in ids] == [12, 12, 12]
    assert sheets_of(experts=3, per_class=12, shared=3) == sheets
    assert sheets_of(experts=3, per_class=12, shared=3, seed=1) != sheets
    whole = sheets_of(experts=1)[0]
    assert [sum(row["class"] == name for row in whole) for name in "AB"] == [40, 30]


def fill(folder: Path, answers: dict[str, list[str]]) -> None:
    """Answer each sheet by class: the answers in turn."""
    for path in sorted(folder.glob("sheet-*.csv")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("id")
        for name, given in answers.items():
            own = table.index[table["class"] == name]
            table.loc[own, "answer"] = [given[i % len(given)] for i in range(len(own))]
        table.to_csv(path, index=False)


def test_answers_are_read_back_with_intervals(tmp_path: Path) -> None:
    expert_sheets.write_sheets(tmp_path, sheets_of(experts=1, per_class=20), "mine")
    with pytest.raises(InputError, match=r"no sheet in .* has an answer yet"):
        expert_sheets.read_agreement(tmp_path)
    fill(tmp_path, {"A": ["correct", "Correct", "wrong", "correct"], "B": ["", "wrong"]})
    found = expert_sheets.read_agreement(tmp_path)
    table = found.table.set_index("class")
    assert table.loc["A", "n"] == 20
    assert table.loc["A", "correct"] == 0.75
    # Wilson's interval of 15 of 20 (Newcombe 1998).
    assert list(table.loc["A", ["low", "high"]]) == pytest.approx([0.531, 0.888], abs=5e-4)
    assert list(table.loc["B", ["n", "correct"]]) == [10, 0]
    assert table.loc["all", "n"] == 30
    assert (found.unanswered, found.shared, found.alpha) == (10, 0, None)
    with pytest.raises(InputError, match="holds sheets already"):
        expert_sheets.write_sheets(tmp_path, sheets_of(), "mine")


def test_agreement_between_experts_is_krippendorffs(tmp_path: Path) -> None:
    expert_sheets.write_sheets(tmp_path, sheets_of(experts=2, per_class=8, shared=8), "mine")
    fill(tmp_path, {"A": ["correct", "wrong"], "B": ["correct"]})
    assert expert_sheets.read_agreement(tmp_path).alpha == pytest.approx(1)
    path = tmp_path / "sheet-2.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[table["class"] == "A", "answer"] = "correct"
    table.to_csv(path, index=False)
    found = expert_sheets.read_agreement(tmp_path)
    # 16 pairs of answers: 12 agree on correct, 4 differ. D_o = 4/16; n_c = 28, n_w = 4 of 32.
    expected = 1 - (4 / 16) / (2 * 28 * 4 / (32 * 31))
    assert found.alpha == pytest.approx(expected)
    assert found.shared == 16
    # Where one of two says wrong, no more than half say correct.
    assert found.table.set_index("class").loc["A", "correct"] == 0.5


def test_a_sheet_with_another_answer_is_refused(tmp_path: Path) -> None:
    expert_sheets.write_sheets(tmp_path, sheets_of(experts=1, per_class=2), "mine")
    fill(tmp_path, {"A": ["maybe"]})
    with pytest.raises(InputError, match=r"sheet-1.csv line \d: answer is 'maybe'; expected cor"):
        expert_sheets.read_agreement(tmp_path)
    path = tmp_path / "sheet-1.csv"
    path.write_text(path.read_text().replace("0-", "7-").replace("maybe", "wrong"))
    with pytest.raises(InputError, match="is no instance of this review"):
        expert_sheets.read_agreement(tmp_path)
    with pytest.raises(InputError, match="holds no sheets"):
        expert_sheets.read_agreement(tmp_path / "none")


def test_a_sheet_runs_nothing_that_was_said(tmp_path: Path) -> None:
    rows = told([EVIL, "=cmd()"], values=["A", "A"])
    scheme = fit_scheme(TaxonomyConfig(min_size=1), rows)
    sheets = expert_sheets.draw_sheets(scheme.groups, scheme.assign(rows), rows)
    (page,) = expert_sheets.write_sheets(tmp_path, sheets, "mine")
    assert EVIL not in page.read_text()
    cells = (tmp_path / "sheet-1.csv").read_text()
    assert "'=cmd()" in cells


# --- in a browser


@pytest.mark.system
def test_the_forms_save_what_was_clicked(
    tmp_path: Path, data: Annotations, encoder: Encoder
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    page = choose_k.write_page(
        tmp_path, choose_k.compare_options(RationaleConfig(), data, encoder, range(2, 4)), "mine"
    )
    sheets = sheets_of(experts=1, per_class=3)
    (sheet,) = expert_sheets.write_sheets(tmp_path, sheets, "mine")
    saved = tmp_path / "saved"
    saved.mkdir()
    with chromium(1000, 800) as driver:
        behaviour = {"behavior": "allow", "downloadPath": str(saved)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)

        def save(name: str) -> Path:
            driver.find_element(By.CSS_SELECTOR, "#form > button").click()
            WebDriverWait(driver, 30).until(lambda _: (saved / name).exists())
            return saved / name

        driver.get(page.as_uri())
        why = '=SUM(1), "so" he said,\nand more'
        driver.find_element(By.CSS_SELECTOR, "[name=k][value='3']").click()
        driver.find_element(By.NAME, "who").send_keys("Dr. Ä")
        driver.find_element(By.NAME, "why").send_keys(why)
        chosen = choose_k.read_choice(save(choose_k.FORM))
        driver.get(sheet.as_uri())
        answers = ["correct", "wrong", "wrong", "correct", "correct"]
        for row, answer in zip(sheets[0], answers, strict=False):
            select = f"[name='answer-{row['id']}'][value={answer}]"
            driver.find_element(By.CSS_SELECTOR, select).click()
        save("sheet-1.csv").replace(tmp_path / "sheet-1.csv")
        asked = {url for url in asked_for(driver) if not url.startswith("blob:")}
        assert asked == {page.as_uri(), sheet.as_uri()}
    assert chosen == choose_k.Choice(3, "Dr. Ä", why)  # as it was typed, without the guard
    found = expert_sheets.read_agreement(tmp_path)
    assert (found.table.set_index("class").loc["all", "n"], found.unanswered) == (5, 1)


# --- rationales that were inferred


def people() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": [f"t{i}" for i in range(13)],
            "label": [0, 1] * 6 + [0],
            "annotator": ["p"] * 6 + ["q"] * 6 + ["r"],
            "rationale": ["mine", *[""] * 12],
        }
    )


def test_rationales_are_inferred_from_rows_that_are_then_left_out() -> None:
    table = people()
    shown = inferred_rationales.draw_labels(table, "t.csv", Template("infer"), examples=2)
    assert {person: len(rows) for person, rows in shown.rows.items()} == {"p": 2, "q": 2}
    assert 0 not in shown.rows["p"]  # has a rationale already
    with serving(lambda *_: "Values fairness.") as server:
        found = inferred_rationales.infer_rationales(table, shown, Client("m", base_url=server.url))
        sent = json.dumps(server.bodies)
    for person, rows in shown.rows.items():
        assert all(f"t{row}" in shown.prompts[person].user for row in rows)
        assert not set(rows) & set(found.table.index)
    assert all(f'\\"t{row}\\"' not in sent for row in found.table.index)
    kept = found.table
    assert (found.n_shown, len(kept)) == (4, 9)
    assert list(kept.loc[0, ["rationale", "inferred"]]) == ["mine", False]
    others = kept[kept["annotator"].isin(["p", "q"])].drop(index=0)
    assert set(others["rationale"]) == {"Values fairness."}
    assert others["inferred"].all()
    assert list(kept.loc[12, ["rationale", "inferred"]]) == ["", False]


def test_what_is_inferred_is_marked_wherever_groups_are_described(
    tmp_path: Path, encoder: Encoder
) -> None:
    marks = [True] * 4 + [False] * 8
    rows = told([*CHESS, *COOKS, *SAILORS], inferred=marks)
    assert rows.attributes == ()
    scheme = fit_scheme(RationaleConfig(k=3), rows, encoder)
    said = " ".join(group.description for group in scheme.groups)
    assert "3 of 3 rationales were inferred by a language model" in said
    found = choose_k.compare_options(RationaleConfig(), rows, encoder, [3])
    assert sum(group.inferred for group in found[0].groups) == 4
    page = choose_k.write_page(tmp_path, found, "mine").read_text()
    assert page.count("were inferred by a language model") == 2


def test_nobody_to_infer_from_is_an_error() -> None:
    with pytest.raises(InputError, match=r"nobody in t.csv has two rows"):
        inferred_rationales.draw_labels(people().iloc[[0, 12]], "t.csv", Template("infer"))
    with pytest.raises(InputError, match=r"column 'annotator' is not in t.csv"):
        inferred_rationales.draw_labels(
            people().drop(columns="annotator"), "t.csv", Template("infer")
        )


# --- leakage


def test_groups_that_name_the_label_are_found_and_said() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(400)], "label": labels})
    rows = Annotations.from_frame(frame)

    def groups(agree: float) -> csr_matrix:
        told = np.where(rng.random(400) < agree, labels, 1 - labels)
        return csr_matrix(np.eye(2, dtype=np.float32)[told])

    chance, some, most = (label_auc(groups(p), rows) for p in (0.5, 0.66, 0.95))
    assert abs(chance - 0.5) < 0.08
    assert leakage_message(chance) == ""
    assert "tell something of the label" in leakage_message(some)
    assert most == pytest.approx(0.95, abs=0.03)
    assert "mostly encode the label" in leakage_message(most)
    assert np.isnan(label_auc(groups(1)[:40], rows.take(np.arange(40))))


def test_every_scheme_passes_through_the_guard() -> None:
    n = 200
    frame = pd.DataFrame(
        {"text": [f"t{i}" for i in range(n)], "label": [0, 1] * (n // 2), "side": ["x", "y"] * 100}
    )
    with pytest.warns(Notice, match="the groups mostly encode the label"):
        fit_scheme(AttributesConfig(min_size=1), Annotations.from_frame(frame))
