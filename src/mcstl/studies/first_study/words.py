"""The words that columns, labels and answers go by, and what counts as few, many or often."""


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


TEXT = _words(
    "answer argument article body caption claim comment completion conclusion content context "
    "conversation dialog dialogue document excerpt headline input message meme output paragraph "
    "passage post prompt question quote reply response review scenario sentence situation "
    "statement story text transcript tweet turn utterance vignette"
)
#: What is judged, and what may stand beside it without being judged.
REACTION = _words("answer completion output reply response")
SETTING = _words("context conversation history input instruction parent post prompt question")
RATIONALE = _words(
    "because comment explain explanation feedback justification justify motivation note rationale "
    "reason reasoning remark why"
)
LABEL = _words(
    "abusive agree agreement annotation appropriate class decision disagree grade harm harmful "
    "hate hateful ironic irony judgement judgment label likert offensive offensiveness opinion "
    "overall polite politeness quality rate rating safe safety sarcasm score sentiment severity "
    "stance toxic toxicity unsafe valence verdict vote"
)
PREFERENCE = _words("better choice label preference preferred vote winner")
#: Words of columns that say something about labels, but not one person's.
NO_LABEL = _words(
    "average avg confidence count date duration expert gold id majority mean median model number "
    "predicted prediction probability soft std time timestamp total variance"
)
ANNOTATOR = _words(
    "annotator assessor coder crowdworker evaluator judge labeler labeller participant person "
    "rater respondent reviewer subject turker user username voter worker"
)
ITEM = _words(
    "argument comment conversation dialog dialogue doc document example instance item message "
    "pair post prompt question sample sentence situation stimulus text tweet unit"
)
ID = _words("anon anonymous code hash id index key name nr number uuid")
VALUES = _words("category moral motive principle tag topic value virtue")
ATTRIBUTE = _words(
    "age country culture disability education ethnic ethnicity gender generation ideology income "
    "job lgbt lgbtq locale locality marital nationality occupation orientation party politic "
    "political race region religion religious ses sex state student urban"
)
#: How two columns name the two texts of a pair, the preferred one first where it is known.
CHOSEN = (
    ("chosen", "rejected"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("winner", "loser"),
    ("better", "worse"),
)
SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))
A_WINS = _words("a first left 1")
B_WINS = _words("b second right 2")
NO_ANSWER = frozenset(["n/a", "na", "nan", "null", "-", "?", "not understood", "skip", "skipped"])
#: Columns that are neither a judgement nor about one.
NOT_JUDGED = ATTRIBUTE | NO_LABEL | ID | VALUES
#: A column that differs in this share of people or less is a property of people, typing errors
#: granted.
SELDOM = 0.05
#: A rationale is worth clustering where at least this share of annotations has one, and a sign
#: in this share of cells separates names.
OFTEN = 0.3
SHORTEST_OF_A_PAIR = 8
MOST_CLASSES = 20
MOST_WORDS = 10
MOST_GROUPS = 60
#: Of a table's rows, those in training under the drafted split.
TRAINING_SHARE = 0.8 * 0.9
