"""The page: a text, or two, and every group's view of it beside the population's; a jury to mix."""

import os
from html import escape
from typing import Any

import numpy as np

from mcstl._support.errors import InputError, need_extra
from mcstl.models.perspectives import Views
from mcstl.serving.answers import Answers, BusyError

#: Groups, the largest, that get a slider: more would not fit a screen.
_JURY = 12
_MOST_JURORS = 12

_WARNING = (
    "<p class='warning'><b>Before you read on:</b> texts and predictions here may be offensive. "
    "What a group is said to think is an estimate from its members' past annotations; it is not "
    "what any one person thinks, and no reason to treat anybody in a certain way.</p>"
)
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


def mount(app: Any, answers: Answers) -> None:
    """Put the page under ``/page`` of an app. It loads nothing from anywhere else.

    Raises InputError if gradio is not installed.
    """
    # Read when gradio is imported: it would report its use and look for newer versions.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with need_extra("serve"):
        import gradio as gr

    # By name: gradio's own fonts come from elsewhere.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    gr.mount_gradio_app(
        app,
        _page(gr, answers),
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


def _page(gr: Any, answers: Answers) -> Any:
    scheme = answers.model.scheme
    groups = sorted(scheme.groups if scheme else (), key=lambda group: -group.size)
    shown = [[group.name] for group in groups[: answers.limits.perspectives]]
    jury = [name for (name,) in shown[:_JURY]]
    facts = {group.name: _rests_on(group) for group in groups}

    async def look(*given: Any) -> tuple[Views | None, str]:
        texts, weights = given[: answers.sides], given[answers.sides :]
        try:
            asked = tuple(text or "" for text in texts)
            rows, *_ = answers.check([asked if answers.sides == 2 else asked[0]], [], None)
            views = await answers.views(rows, shown)
        except (InputError, BusyError) as error:
            return None, f"<p class='problem'>{escape(str(error))}</p>"
        return views, _drawn(answers, views, facts, dict(zip(jury, weights, strict=True)))

    def remix(views: Views | None, *weights: float) -> str:
        if views is None:
            return ""
        return _drawn(answers, views, facts, dict(zip(jury, weights, strict=True)))

    with gr.Blocks(title="mcstl", analytics_enabled=False) as page:
        gr.HTML("<h1>Who sees it how?</h1>" + _WARNING)
        labels = ("First text (A)", "Second text (B)") if answers.sides == 2 else ("Text",)
        boxes = [
            gr.Textbox(
                label=label, lines=3, max_length=answers.limits.letters, elem_id=f"text-{number}"
            )
            for number, label in enumerate(labels)
        ]
        button = gr.Button("Look", variant="primary", elem_id="look")
        last = gr.State(None)
        drawn = gr.HTML(elem_id="views")
        sliders = []
        with gr.Accordion("Mix a jury", open=True, visible=bool(jury)):
            gr.HTML(
                "<p>How many of a jury are of each group? Their mixture stands beside the "
                "population's." + (" The largest groups only." if len(groups) > _JURY else "")
            )
            sliders = [
                gr.Slider(0, _MOST_JURORS, 0, step=1, label=name, elem_id=f"jury-{k}")
                for k, name in enumerate(jury)
            ]
        button.click(look, [*boxes, *sliders], [last, drawn], api_visibility="private")
        if sliders:
            gr.on(
                [slider.change for slider in sliders],
                remix,
                [last, *sliders],
                drawn,
                show_progress="hidden",
                api_visibility="private",
            )
    page.queue(default_concurrency_limit=4, max_size=answers.limits.waiting)
    return page


def _rests_on(group: Any) -> str:
    people = "" if group.annotators is None else f" of {group.annotators:,} people"
    warning = f" ⚠ {group.warning}" if group.warning else ""
    return f"{group.size:,} annotations{people}{warning}"


def _drawn(answers: Answers, views: Views, facts: dict[str, str], jury: dict[str, float]) -> str:
    """Return the chart as HTML: population, jury, then the groups, the widest gap first."""
    classes = views.classes if answers.sides == 1 else ("B is preferred", "A is preferred")
    colours = _colours(len(classes))
    key = "".join(
        f"<span><i class='key' style='background:{colour}'></i> {escape(name)}</span>"
        for name, colour in zip(classes, colours, strict=True)
    )
    lines = [
        _line("Population", "the mixture of those who annotated", views.population[0], colours)
    ]
    if any(jury.values()):
        told = ", ".join(f"{weight:g} {name}" for name, weight in jury.items() if weight)
        lines.append(_line("Your jury", told, views.mixture(jury)[0], colours))
    lines.append("<hr>")
    gaps = views.gaps[0]
    for k in np.argsort(-np.abs(gaps), kind="stable"):
        note = f"{gaps[k]:+.2f} from the population; {facts[views.names[k]]}"
        lines.append(_line(views.names[k], note, views.p[0, k], colours))
    score = f"<p>Disagreement between groups: <b id='disagreement'>{views.disagreement[0]:.2f}</b> "
    return (
        f"<div class='views'>{score}(0 all agree, 1 opposite)</p><p class='legend'>{key}</p>"
        f"{''.join(lines)}</div>"
    )


def _line(who: str, note: str, p: Any, colours: list[str]) -> str:
    shares = "".join(
        f"<span style='width:{100 * share:.2f}%;background:{colour}'></span>"
        for share, colour in zip(p, colours, strict=True)
    )
    numbers = " · ".join(f"{100 * share:.1f}%" for share in p)
    return (
        f"<div class='view' data-who='{escape(who)}'><div class='says'>"
        f"<span class='who'>{escape(who)} <small>{escape(note)}</small></span>"
        f"<span class='numbers'>{numbers}</span></div>"
        f"<div class='bar' role='img' aria-label='{numbers}'>{shares}</div></div>"
    )


def _colours(n: int) -> list[str]:
    """Colours of n ordered classes, from blue over grey to orange, told apart without red-green."""
    ends, middle = ((37, 99, 235), (234, 88, 12)), (180, 180, 185)
    colours = []
    for x in np.linspace(-1, 1, n):
        end = np.array(ends[int(x > 0)])
        red, green, blue = np.round(abs(x) * end + (1 - abs(x)) * np.array(middle)).astype(int)
        colours.append(f"rgb({red},{green},{blue})")
    return colours
