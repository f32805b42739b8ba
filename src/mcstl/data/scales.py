"""The orders that words of answers usually have."""

import re
from collections.abc import Sequence

#: Orders that words are known by, lowest first; / between words for the same level.
_SCALES = (
    "false < true",
    "no < unsure/not sure/maybe/unclear/unknown/don't know/undecided/neutral < yes",
    "never < rarely/seldom < sometimes/occasionally < often/frequently < always",
    "strongly disagree < disagree < somewhat disagree/slightly disagree < neutral/undecided"
    "/neither agree nor disagree/neither < somewhat agree/slightly agree < agree < strongly agree",
    "very low < low < medium/moderate < high < very high",
    "none < slight/mild/minor < moderate < severe/extreme",
    "not at all < slightly/a little < somewhat/moderately < very/quite < extremely",
    "very bad/terrible < bad/poor < fair/ok/okay/average < good < very good < excellent",
    "very negative < negative < neutral/mixed < positive < very positive",
    "safe < unsure/ambiguous/borderline < unsafe",
    "opposes/oppose/against/con < either/neither/neutral < supports/support/favor/in favor"
    "/in favor of/in favour of/for/pro",
    "dislike < neutral < like",
    "reject < accept",
    "ham < spam",
    "nein < vielleicht/weiß nicht/unklar < ja",
    "non < peut-être/ne sait pas < oui",
    "no < quizás/no sé/forse/non so/talvez/não sei < sí/si/sì/sim",
    "não < talvez/não sei < sim",
    "nee < misschien/weet niet < ja",
    "gar nicht/überhaupt nicht < wenig/etwas/kaum < mittel/teilweise < stark/ziemlich"
    " < sehr/sehr stark",
    "pas du tout < un peu < moyennement/assez < beaucoup/très < extrêmement",
    "nada < poco/un poco/algo/pouco/um pouco < bastante < mucho/muy/muito < extremadamente",
    "per niente < poco/un po' < abbastanza < molto < moltissimo",
    "нет < не знаю/возможно < да",
    "否 < 不确定 < 是",
)
#: Of two answers, the one that says that something is wrong with a text, or is to be done about it,
#: is what is looked for: the higher one.
_HARM = frozenset(
    word
    for words in (
        "abuse/abusive/aggressive/attack/ban/banned/bad/block/blocked/bullying/censor/clickbait",
        "cyberbullying/dangerous/delete/deleted/derogatory/discriminatory/disinformation/escalate",
        "fake/false information/flag/flagged/fraud/harassment/harm/harmful/hate/hateful",
        "hate speech/hide/hidden/hostile/illegal/impolite/inappropriate/insult/insulting/junk",
        "misinformation/misleading/misogynist/misogynistic/misogyny/nsfw/obscene/offense/offensive/phishing",
        "problematic/profane/profanity/racism/racist/reject/rejected/remove/removed/report/rude",
        "scam/sexism/sexist/spam/suspend/threat/threatening/toxic/toxicity/unacceptable/uncivil",
        "unsafe/vandalism/violation/violence/violent/vulgar",
        "löschen/gelöscht/sperren/gesperrt/entfernen/entfernt/verbergen/ausblenden/ablehnen",
        "abgelehnt/melden/beleidigend/beleidigung/hass/hassrede/hasserfüllt/schädlich/giftig",
        "toxisch/anstößig/verboten/unzulässig/sexistisch/rassistisch/gewalt",
        "supprimer/supprimé/effacer/masquer/rejeter/rejeté/refuser/refusé/bloquer/signaler/haineux",
        "haine/toxique/offensant/injurieux/insultant/nuisible/sexiste/raciste/interdit",
        "eliminar/eliminado/borrar/borrado/ocultar/rechazar/rechazado/bloquear/denunciar/ofensivo",
        "ofensiva/odio/tóxico/dañino/insulto/machista/racista/sexista/prohibido",
        "apagar/remover/removido/rejeitar/rejeitado/excluir/ódio/nocivo/abusivo/abusiva",
        "eliminare/cancellare/rimuovere/rifiutare/nascondere/bloccare/offensivo/tossico/dannoso",
        "verwijderen/verbergen/weigeren/afwijzen/blokkeren/beledigend/haat/schadelijk/giftig",
        "удалить/скрыть/отклонить/заблокировать/оскорбление/токсичный/ненависть",
        "删除/隐藏/拒绝/屏蔽/有害/仇恨/削除/非表示/有害な/مسيء/حذف/كراهية",
    )
    for word in words.split("/")
)
#: What stands before a word to say that it is not so.
_NOT = (
    "not ",
    "non ",
    "non",
    "no ",
    "un",
    "in",
    "nicht ",
    "kein ",
    "keine ",
    "pas ",
    "niet ",
    "не ",
    "不",
    "非",
)
#: A number before the words of a level, or in brackets behind them.
_NUMBERED = re.compile(r"\(?(-?\d+)\)?\s*[-\u2013\u2014:.=)]*\s+\D.*|.*\D\s*\((-?\d+)\)")
#: Orders in which answers may be meant, or not: whoever means them has to say so.
_POSSIBLE = (
    "contradiction/contradictory/contradicts/contradicted/refutes/refuted/false/c"
    " < neutral/either/neither/not enough info/not enough information/nei/undetermined/n"
    " < entailment/entails/entailed/supports/supported/true/e",
)


def usual_order(answers: Sequence[str]) -> list[list[str]] | None:
    """Put answers in the order that such words usually have.

    Args:
        answers: The distinct answers.

    Returns:
        The answers level by level, lowest first; None if no known order has all of them.

    >>> usual_order(["often", "Never", "sometimes"])
    [['Never'], ['sometimes'], ['often']]
    >>> usual_order(["hide", "keep"])
    [['keep'], ['hide']]
    >>> usual_order(["3 - very", "1 - not at all", "2 - a little"])
    [['1 - not at all'], ['2 - a little'], ['3 - very']]
    """
    if order := _ordered(answers, _SCALES):
        return order
    if len(answers) == 2:
        for low, high in (answers, answers[::-1]):
            if _plain(low) in (f"{no}{_plain(high)}" for no in _NOT):
                return [[low], [high]]
        harm = [answer for answer in answers if _plain(answer) in _HARM]
        if len(harm) == 1:
            return [[answer] for answer in sorted(answers, key=harm.__contains__)]
    return _numbered(answers)


def possible_order(answers: Sequence[str]) -> list[list[str]] | None:
    """Put answers in an order that they may be meant in, as those of inference between texts.

    Args:
        answers: The distinct answers.

    Returns:
        The answers level by level, lowest first; None if no such order has all of them.

    >>> possible_order(["entailment", "neutral", "contradiction"])
    [['contradiction'], ['neutral'], ['entailment']]
    """
    return _ordered(answers, _POSSIBLE)


def _numbered(answers: Sequence[str]) -> list[list[str]] | None:
    """Order answers such as ``1 - not at all`` by their numbers, if all have one of their own."""
    matches = [_NUMBERED.fullmatch(answer.strip()) for answer in answers]
    numbers = [int(match[1] or match[2]) for match in matches if match]
    if len({*numbers}) < len(answers) or len(answers) < 2:
        return None
    return [[answer] for _, answer in sorted(zip(numbers, answers, strict=True))]


def _ordered(answers: Sequence[str], orders: Sequence[str]) -> list[list[str]] | None:
    plain = {answer: _plain(answer) for answer in answers}
    for order in orders:
        level = {w: i for i, ws in enumerate(order.split(" < ")) for w in ws.split("/")}
        if set(plain.values()) <= level.keys():
            levels: dict[int, list[str]] = {}
            for answer in answers:
                levels.setdefault(level[plain[answer]], []).append(answer)
            return [levels[i] for i in sorted(levels)] if len(levels) > 1 else None
    return None


def _plain(answer: str) -> str:
    return re.sub(r"[\s_-]+", " ", answer.casefold()).strip(" .!")
