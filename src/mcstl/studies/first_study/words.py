"""The words that columns, labels and answers go by, and what counts as few, many or often."""


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


TEXT = _words(
    "answer argument article body caption claim comment completion conclusion content context "
    "conversation dialog dialogue document excerpt headline input message meme output paragraph "
    "passage post prompt question quote reply response review scenario sentence situation "
    "statement story text transcript tweet turn utterance vignette "
    "kommentar beitrag nachricht aussage texte commentaire phrase texto comentario comentário "
    "mensaje mensagem frase testo commento messaggio tekst bericht текст комментарий "
    "文本 评论 テキスト"
)
#: What is judged, and what may stand beside it without being judged.
REACTION = _words("answer completion output reply response")
SETTING = _words("context conversation history input instruction parent post prompt question")
RATIONALE = _words(
    "because comment explain explanation feedback justification justify motivation note "
    "rationale reason reasoning remark why "
    "begründung grund erklärung justification raison motivo motivazione explicación razón "
    "justificación explicação причина 理由 原因"
)
LABEL = _words(
    "abusive acceptability acceptable agree agreement annotation appropriate class decision "
    "disagree grade harm harmful hate hateful hatespeech ironic irony judgement judgment label "
    "likert multilabel offensive offensiveness opinion overall polite politeness quality rate "
    "rating rude rudeness safe safety sarcasm score sentiment severity sexism sexist stance "
    "toxic toxicity toyou unsafe valence verdict vote "
    "bewertung einstufung beleidigend étiquette jugement offensant etiqueta calificación "
    "ofensivo puntuación avaliação etichetta giudizio oordeel оценка метка 标签 ラベル"
)
#: Of these, the words of questions that are asked beside the one that a study is about.
BESIDE_LABEL = _words("quality sentiment severity valence")
#: Words of labels that say which of two texts is better, whatever the answers are.
CHOICE = _words("better choice preference preferred winner")
PREFERENCE = _words("better choice label preference preferred vote winner")
#: Words of columns that say something about labels, but not one person's.
NO_LABEL = _words(
    "average avg confidence count date duration expert gold id majority mean median model number "
    "predicted prediction probability soft std time timestamp total variance"
)
ANNOTATOR = _words(
    "ann annotator assessor coder crowdworker evaluator judge labeler labeller participant "
    "person rater respondent reviewer subject turker user username voter worker "
    "annotatorin annotierer bewerter kodierer annotateur annotatrice évaluateur codeur anotador "
    "anotadora evaluador avaliador annotatore valutatore codificatore beoordelaar аннотатор 标注者 "
    "标注员"
)
ITEM = _words(
    "argument comment conversation dialog dialogue doc document example instance item message "
    "pair post prompt question sample sentence situation stimulus text tweet unit"
)
ID = _words("anon anonymous code hash id index key name nr number uuid")
VALUES = _words("category moral motive principle tag topic value virtue")
ATTRIBUTE = _words(
    "age country culture disability education ethnic ethnicity gender generation ideology "
    "income job lgbt lgbtq locale locality marital nationality occupation orientation party "
    "politic political race region religion religious ses sex state student urban "
    "geschlecht alter bildung beruf sexe âge sexo género edad país pais educación gênero idade "
    "genere sesso età paese geslacht leeftijd пол возраст 性别 年龄 国家"
)
#: Words of columns that are the same for a person because of how the study was run.
SET_UP = _words(
    "batch cluster cohort condition form group hit phase platform sample session set source survey "
    "timestamp wave"
)
#: Words of columns that say of a whole text what people thought of it.
AGGREGATE = _words(
    "aggregate aggregated average avg consensus gold hard majority mean median soft truth"
)
#: Words of columns that say how many votes there are.
TOTAL = _words("count n number sum total")
#: Words of 0/1 columns that are no labels.
NO_CATEGORY = _words("example id is missing train unclear valid")
#: How countries and regions are called where columns are named after them.
COUNTRY = frozenset(
    (
        *("us", "usa", "united states", "uk", "gb", "united kingdom", "au", "aus", "australia"),
        *("sg", "singapore", "sa", "za", "south africa", "in", "india", "ca", "canada", "ie"),
        *("ireland", "nz", "new zealand", "de", "germany", "fr", "france", "es", "spain", "it"),
        *("italy", "br", "brazil", "mx", "mexico", "cn", "china", "jp", "japan", "kr", "korea"),
        *("south korea", "ng", "nigeria", "ke", "kenya", "eg", "egypt", "ae", "qa", "qatar"),
        *("pk", "pakistan", "ph", "philippines", "id", "indonesia", "nl", "netherlands", "pl"),
        *("poland", "se", "sweden", "tr", "turkey", "ar", "argentina", "cl", "chile"),
    )
)
#: Names of two columns that are a text in two parts, in this order.
PARTS = (
    ("premise", "hypothesis"),
    ("context", "statement"),
    ("context", "response"),
    ("context", "reply"),
    ("post", "reply"),
    ("parent", "reply"),
    ("parent", "comment"),
    ("comment", "reply"),
    ("tweet", "reply"),
    ("message", "reply"),
    ("question", "answer"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("claim", "evidence"),
    ("headline", "body"),
    ("title", "body"),
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
