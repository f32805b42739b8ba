"""The page: every group's view of a text beside the population's, and a jury to mix."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, need_extra
from mcstl.evaluation.disagreement import subject
from mcstl.groups.base import Group
from mcstl.groups.small_groups import shown_size
from mcstl.models.perspectives import Views
from mcstl.serving.batching import Batcher, BusyError
from mcstl.serving.prefix import LinksFromThePage

#: How many groups, the largest, get a slider: more would not fit a screen.
_MAX_SLIDERS = 12
#: A view that rests on fewer people is called so.
_FEW_TO_KNOW = 20
#: How many jurors of one group a slider goes to.
_MAX_JURORS = 12

_WARNING = (
    "<p class='warning'><b>Before you read on:</b> texts and predictions here may be offensive. "
    "What a group is said to think is an estimate from its members' past annotations; it is not "
    "what any one person thinks, and no reason to treat anybody in a certain way.</p>"
)
_GAP = "From the population: how much further up a group's mean answer is, on a scale from {scale}."
#: The probability that the intervals are to hold.
_LEVEL = 0.95
_ENDS = (
    f" In brackets: the {100 * _LEVEL:.0f}% interval of what the group would say. The fewer of its "
    "members the model knows, the wider."
)
_CUT = "This text is longer than the model reads: its end was not looked at."
_CSS = """
.gradio-container { max-width: 60rem !important; margin: auto !important; }
.warning { border-left: .3rem solid #d97706; padding: .4rem .8rem; margin: 0; }
.problem { border-left: .3rem solid #dc2626; padding: .4rem .8rem; margin: 0; }
.views .view { margin: .7rem 0; }
.views .says { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.views .who { font-weight: 600; overflow-wrap: anywhere; }
.views .who small { font-weight: 400; opacity: .8; }
.views .numbers { font-variant-numeric: tabular-nums; }
.views .bar { display: flex; height: 1rem; border-radius: .2rem; overflow: hidden; }
.views .bar span { display: block; height: 100%; }
.views .key { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; }
.views .legend span { margin-right: 1rem; white-space: nowrap; }
.views h2 { font-size: 1.1rem; margin: 1rem 0 .3rem; overflow-wrap: anywhere; }
.views h3 { margin: 1rem 0 0; padding-top: .6rem; border-top: 1px solid rgb(128 128 128 / .4); }
.beside { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.beside .views { flex: 1 1 22rem; min-width: 0; }
"""


class Seen(NamedTuple):
    """What the page shows of one or two texts.

    Attributes:
        titles: The beginning of each text; none where there is one text.
        views: What each group and the population say of each text; with intervals, if the model
            knows how sure it is.
    """

    titles: list[str]
    views: Views

    @property
    def order(self) -> list[int]:
        """The places of the groups, those first whose gap from the population is widest."""
        return list(np.argsort(-np.abs(self.views.gaps).max(axis=0), kind="stable"))


def mount(app: Any, batcher: Batcher) -> None:
    """Put the page under ``/page`` of an app. It loads nothing from anywhere else.

    Args:
        app: The FastAPI app that gets the page.
        batcher: The model that answers.

    Raises:
        InputError: If gradio is not installed.
    """
    # Read when gradio is imported: it would report its use and look for newer versions.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with need_extra("serve"):
        import gradio as gr

    # By name: gradio's own fonts come from elsewhere.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    gr.mount_gradio_app(
        app,
        _page(gr, batcher),
        "/page",
        theme=theme,
        css=_CSS,
        footer_links=[],
        ssr_mode=False,
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        run_history=False,
        max_file_size=0,
    )
    app.add_middleware(LinksFromThePage)


def _page(gr: Any, batcher: Batcher) -> Any:
    form = batcher.form
    groups = sorted(batcher.model.askable_groups, key=lambda group: -group.size)
    perspectives = [[group.name] for group in groups[: batcher.limits.perspectives]]
    jury = [name for (name,) in perspectives[:_MAX_SLIDERS]]
    notes = {group.name: _group_note(group) for group in groups}
    is_pair, n_boxes = form.sides == 2, len(form.boxes)
    classes = ("B is preferred", "A is preferred") if is_pair else batcher.model.classes

    async def predict(*inputs: Any) -> tuple[Seen | None, str]:
        filled, weights = [text or "" for text in inputs[: 2 * n_boxes]], inputs[2 * n_boxes :]
        sets = [filled[:n_boxes], filled[n_boxes:]]
        try:
            sets = sets[: 1 + any(sets[1])]
            asked = [form.of_boxes(each) for each in sets]
            items, _ = batcher.check(asked, [])
            level = _LEVEL if batcher.model.network.n_draws else None
            views = await batcher.views(items, perspectives, level)
            titles = [brief(" / ".join(each), 80) for each in sets] if len(sets) > 1 else []
            seen = Seen(titles, views)
        except (InputError, BusyError) as error:
            return None, f"<p class='problem'>{escape(str(error))}</p>"
        return seen, chart(seen, *weights)

    def chart(seen: Seen | None, *weights: float) -> str:
        if seen is None:
            return ""
        mix = dict(zip(jury, weights, strict=True))
        charts = [_chart(seen, n, classes, notes, mix) for n in range(len(seen.views.population))]
        return f"<div class='beside'>{''.join(charts)}</div>"

    def text_boxes(place: str) -> list[Any]:
        return [
            gr.Textbox(
                label=label, lines=3, max_length=batcher.limits.letters, elem_id=f"{place}-{number}"
            )
            for number, label in enumerate(form.boxes)
        ]

    with gr.Blocks(title="mcstl", analytics_enabled=False) as page:
        gr.HTML("<h1>Who sees it how?</h1>" + _WARNING)
        boxes = text_boxes("text")
        with gr.Accordion("Compare with another", open=False, elem_id="compare"):
            boxes += text_boxes("other")
        button = gr.Button("Look", variant="primary", elem_id="look")
        last_seen = gr.State(None)
        html = gr.HTML(elem_id="views")
        sliders = []
        with gr.Accordion("Mix a jury", open=True, visible=bool(jury)):
            gr.HTML(
                "<p>How many of a jury are of each group? Their mixture stands beside the "
                "population's."
                + (" The largest groups only." if len(groups) > _MAX_SLIDERS else "")
            )
            sliders = [
                gr.Slider(0, _MAX_JURORS, 0, step=1, label=name, elem_id=f"jury-{k}")
                for k, name in enumerate(jury)
            ]
        button.click(predict, [*boxes, *sliders], [last_seen, html], api_visibility="private")
        if sliders:
            gr.on(
                [slider.change for slider in sliders],
                chart,
                [last_seen, *sliders],
                html,
                show_progress="hidden",
                api_visibility="private",
            )
    page.queue(default_concurrency_limit=4, max_size=batcher.limits.waiting)
    return page


def _group_note(group: Group) -> str:
    """Say what a group's view rests on."""
    if group.is_of_few:
        return f"⚠ {group.warning}"
    warning = f" ⚠ {group.warning}" if group.warning else ""
    if group.annotators is not None and group.annotators < _FEW_TO_KNOW:
        warning = f" ⚠ so few people say little about others like them{warning}"
    return f"{shown_size(group.size, group.annotators)}{warning}"


def _heading(name: str) -> str:
    """Say under which heading a group stands: its attribute, if it is of one."""
    return "Several at once" if " & " in name else subject(name) or "Values and reasons"


def _chart(
    seen: Seen,
    n: int,
    classes: Sequence[str],
    notes: Mapping[str, str],
    jury: Mapping[str, float],
) -> str:
    """Draw one text's views as HTML: population, jury, then what groups by what they are of.

    The groups of an attribute stand together, those of the widest gap first, in the same order for
    all texts.
    """
    views = seen.views
    colours = _colours(len(classes))
    legend = "".join(
        f"<span><i class='key' style='background:{colour}'></i> {escape(name)}</span>"
        for name, colour in zip(classes, colours, strict=True)
    )
    lines = [
        _line("Population", "the mixture of those who annotated", views.population[n], colours)
    ]
    if any(jury.values()):
        jurors = ", ".join(f"{weight:g} {name}" for name, weight in jury.items() if weight)
        lines.append(_line("Your jury", jurors, views.mixture(jury)[n], colours))
    gaps, has_ends, by_heading = views.gaps[n], views.ends is not None, dict[str, list[int]]()
    for k in seen.order:
        by_heading.setdefault(_heading(views.names[k]), []).append(k)
    for heading, numbers in by_heading.items():
        lines.append(f"<h3>{escape(heading)}</h3>")
        for k in numbers:
            gap = round(float(gaps[k]), 2) + 0.0  # never -0.00
            note = f"{gap:+.2f} from the population; ".replace("-", "−") + notes[views.names[k]]
            ends = None if views.ends is None else views.ends[:, n, 1 + k]
            lines.append(_line(views.names[k], note, views.p[n, k], colours, ends))
    if views.names:
        scale = f"0, {classes[0]}, to 1, {classes[-1]}"
        lines.append(f"<p>{escape(_GAP.format(scale=scale))}{_ENDS if has_ends else ''}</p>")
    is_cut = views.truncated is not None and views.truncated[n]
    cut = f"<p class='problem'>{_CUT}</p>" if is_cut else ""
    score = f"<p>Disagreement between groups: <b id='disagreement'>{views.disagreement[n]:.2f}</b> "
    title = f"<h2>{escape(seen.titles[n])}</h2>" if seen.titles else ""
    return (
        f"<div class='views'>{title}{cut}{score}(0 all agree, 1 opposite)</p>"
        f"<p class='legend'>{legend}</p>{''.join(lines)}</div>"
    )


def _line(
    perspective: str,
    note: str,
    p: FloatArray,
    colours: Sequence[str],
    ends: FloatArray | None = None,
) -> str:
    """Draw one perspective's L probabilities: its name, a note, the numbers and a bar.

    The ends of their intervals are (2, L), None where nothing is known of them.
    """
    shares = "".join(
        f"<span style='width:{100 * share:.2f}%;background:{colour}'></span>"
        for share, colour in zip(p, colours, strict=True)
    )
    texts = [f"{100 * share:.1f}%" for share in p]
    if ends is not None:
        texts = [
            f"{text} ({100 * low:.0f} to {100 * high:.0f})"
            for text, low, high in zip(texts, *ends, strict=True)
        ]
    numbers = " · ".join(texts)
    return (
        f"<div class='view' data-who='{escape(perspective)}'><div class='says'>"
        f"<span class='who'>{escape(perspective)} <small>{escape(note)}</small></span>"
        f"<span class='numbers'>{numbers}</span></div>"
        f"<div class='bar' role='img' aria-label='{numbers}'>{shares}</div></div>"
    )


def _colours(n: int) -> list[str]:
    """Make colours for n ordered classes, from blue over grey to orange, safe without red-green."""
    ends, middle = ((37, 99, 235), (234, 88, 12)), (180, 180, 185)
    colours = []
    for x in np.linspace(-1, 1, n):
        end = np.array(ends[int(x > 0)])
        red, green, blue = np.round(abs(x) * end + (1 - abs(x)) * np.array(middle)).astype(int)
        colours.append(f"rgb({red},{green},{blue})")
    return colours
