"""The page: every group's view of a text beside the population's, and a jury to mix."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, need_extra
from mcstl.groups.base import Group
from mcstl.groups.small_groups import shown_size
from mcstl.models.perspectives import Views
from mcstl.serving.batching import Batcher, BusyError

#: How many groups, the largest, get a slider: more would not fit a screen.
_MAX_SLIDERS = 12
#: How many jurors of one group a slider goes to.
_MAX_JURORS = 12

_WARNING = (
    "<p class='warning'><b>Before you read on:</b> texts and predictions here may be offensive. "
    "What a group is said to think is an estimate from its members' past annotations; it is not "
    "what any one person thinks, and no reason to treat anybody in a certain way.</p>"
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
.views hr { margin: .8rem 0; opacity: .4; }
"""


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


def _page(gr: Any, batcher: Batcher) -> Any:
    form = batcher.form
    groups = sorted(batcher.model.askable_groups, key=lambda group: -group.size)
    perspectives = [[group.name] for group in groups[: batcher.limits.perspectives]]
    jury = [name for (name,) in perspectives[:_MAX_SLIDERS]]
    notes = {group.name: _group_note(group) for group in groups}
    is_pair, n_boxes = form.sides == 2, len(form.boxes)
    classes = ("B is preferred", "A is preferred") if is_pair else batcher.model.classes

    async def predict(*inputs: Any) -> tuple[Views | None, str]:
        filled, weights = [text or "" for text in inputs[:n_boxes]], inputs[n_boxes:]
        try:
            items, _ = batcher.check([form.of_boxes(filled)], [])
            views = await batcher.views(items, perspectives)
        except (InputError, BusyError) as error:
            return None, f"<p class='problem'>{escape(str(error))}</p>"
        return views, chart(views, *weights)

    def chart(views: Views | None, *weights: float) -> str:
        if views is None:
            return ""
        return _chart(views, classes, notes, dict(zip(jury, weights, strict=True)))

    with gr.Blocks(title="mcstl", analytics_enabled=False) as page:
        gr.HTML("<h1>Who sees it how?</h1>" + _WARNING)
        boxes = [
            gr.Textbox(
                label=label, lines=3, max_length=batcher.limits.letters, elem_id=f"text-{number}"
            )
            for number, label in enumerate(form.boxes)
        ]
        button = gr.Button("Look", variant="primary", elem_id="look")
        last_views = gr.State(None)
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
        button.click(predict, [*boxes, *sliders], [last_views, html], api_visibility="private")
        if sliders:
            gr.on(
                [slider.change for slider in sliders],
                chart,
                [last_views, *sliders],
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
    return f"{shown_size(group.size, group.annotators)}{warning}"


def _chart(
    views: Views, classes: Sequence[str], notes: Mapping[str, str], jury: Mapping[str, float]
) -> str:
    """Draw one text's views as HTML: population, jury, then the groups, the widest gap first."""
    colours = _colours(len(classes))
    legend = "".join(
        f"<span><i class='key' style='background:{colour}'></i> {escape(name)}</span>"
        for name, colour in zip(classes, colours, strict=True)
    )
    lines = [
        _line("Population", "the mixture of those who annotated", views.population[0], colours)
    ]
    if any(jury.values()):
        jurors = ", ".join(f"{weight:g} {name}" for name, weight in jury.items() if weight)
        lines.append(_line("Your jury", jurors, views.mixture(jury)[0], colours))
    lines.append("<hr>")
    gaps = views.gaps[0]
    for k in np.argsort(-np.abs(gaps), kind="stable"):
        note = f"{gaps[k]:+.2f} from the population; {notes[views.names[k]]}"
        lines.append(_line(views.names[k], note, views.p[0, k], colours))
    is_cut = views.truncated is not None and views.truncated[0]
    cut = f"<p class='problem'>{_CUT}</p>" if is_cut else ""
    score = f"<p>Disagreement between groups: <b id='disagreement'>{views.disagreement[0]:.2f}</b> "
    return (
        f"<div class='views'>{cut}{score}(0 all agree, 1 opposite)</p>"
        f"<p class='legend'>{legend}</p>{''.join(lines)}</div>"
    )


def _line(perspective: str, note: str, p: FloatArray, colours: Sequence[str]) -> str:
    """Draw one perspective's L probabilities: its name, a note, the numbers and a bar."""
    shares = "".join(
        f"<span style='width:{100 * share:.2f}%;background:{colour}'></span>"
        for share, colour in zip(p, colours, strict=True)
    )
    numbers = " · ".join(f"{100 * share:.1f}%" for share in p)
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
