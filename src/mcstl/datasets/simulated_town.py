"""The made-up town of the simulated data: its value groups, proposals, reasons and people.

Everything here is made up; `mcstl.datasets.simulated` says how annotations are drawn from it.
"""

import numpy as np

#: The value groups, anticlockwise around the circle from 30 degrees in steps of 60.
GROUPS = (
    "Universalism",
    "Self-direction",
    "Achievement",
    "Security",
    "Tradition",
    "Benevolence",
)
_ANGLES = np.deg2rad(np.arange(30, 390, 60))
#: (K, 2) positions: right is self-transcendence, up is openness to change.
POSITIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
#: (K,) what a group adds to the score of every proposal.
LENIENCY = np.array([0.35, -0.15, 0.15, -0.55, -0.2, 0.45])

#: Text, appeal to everybody, direction (right, up) of the first part of a proposal.
OPENERS = (
    ("We should {}.", 0.0, 0.0, 0.0),
    ("The town should {}.", 0.0, 0.0, 0.0),
    ("It would be good to {}.", 0.0, 0.0, 0.0),
    ("Let us {}.", 0.0, 0.0, 0.0),
    ("Without asking anyone, the mayor wants to {}.", -0.6, -0.1, 0.0),
    ("The mayor, asking nobody, plans to {}.", -0.6, -0.1, 0.0),
    ("The mayor has decided alone to {}.", -0.6, -0.1, 0.0),
    ("The mayor, whatever others say, is going to {}.", -0.6, -0.1, 0.0),
    ("The young people of the town would love to {}.", 0.15, 0.05, 0.15),
    ("Young people ask the town to {}.", 0.15, 0.05, 0.15),
    ("The town's teenagers hope that we {}.", 0.15, 0.05, 0.15),
    ("The students in town dream that we {}.", 0.15, 0.05, 0.15),
    ("The oldest families in town want to {}.", 0.1, 0.0, -0.15),
    ("The old families of the town ask us to {}.", 0.1, 0.0, -0.15),
    ("Families who have always lived here wish to {}.", 0.1, 0.0, -0.15),
    ("Families with deep roots here hope that we {}.", 0.1, 0.0, -0.15),
)
#: As `OPENERS`, of what is proposed.
ACTIONS = (
    ("welcome newcomers from abroad at {}", 0.1, 0.9, 0.4),
    ("let artists experiment freely at {}", 0.0, 0.2, 1.0),
    ("hold contests with big cash prizes at {}", -0.2, -0.95, 0.4),
    ("install security cameras at {}", -0.1, -0.75, -0.5),
    ("revive the old village customs at {}", 0.0, 0.1, -1.0),
    ("serve free lunch to lonely pensioners at {}", 0.4, 0.85, -0.5),
)
#: As `OPENERS`, of where.
PLACES = (
    ("the public library", 0.25, 0.05, 0.0),
    ("the swimming pool", 0.1, 0.0, 0.1),
    ("the primary school", -0.1, 0.0, -0.1),
    ("the history museum", 0.0, 0.0, -0.1),
    ("the bus station", -0.25, -0.05, 0.0),
    ("the community garden", 0.25, 0.1, 0.0),
)
#: As `OPENERS`, of when.
TIMES = (
    ("from next month on", 0.0, 0.0, 0.0),
    ("starting next month", 0.0, 0.0, 0.0),
    ("as of next month", 0.0, 0.0, 0.0),
    ("beginning next month", 0.0, 0.0, 0.0),
)
#: What people say whom a group's values move.
REASONS = {
    "Universalism": (
        "I ask what is fair to all people and to nature.",
        "Equal rights for everyone guide me, whoever they are.",
        "The planet and social justice come first for me.",
        "I try to think of the whole world, not only of us.",
    ),
    "Self-direction": (
        "People should be free to choose for themselves.",
        "Independence and new ideas matter most to me.",
        "I value freedom and my own way of doing things.",
        "Everyone should be able to explore and decide alone.",
    ),
    "Achievement": (
        "I look at success and what gets results.",
        "Ambition and hard work should pay off.",
        "What counts for me is being competent and competitive.",
        "I want us to do better than other towns.",
    ),
    "Security": (
        "Safety and order are what I look at.",
        "I think of the dangers and how to prevent them.",
        "A stable and protected town matters most to me.",
        "My family has to be safe, so I think of risks.",
    ),
    "Tradition": (
        "Our customs and our heritage deserve respect.",
        "I go by what our ancestors and our faith taught us.",
        "Continuity with the past matters to me.",
        "I judge it by the ways that were handed down to us.",
    ),
    "Benevolence": (
        "I think of how we can help the people close to us.",
        "Caring for friends and neighbours is what counts.",
        "Kindness and loyalty to one another guide me.",
        "I want those who depend on us to be looked after.",
    ),
}
#: Share of people, then the log-odds that it adds to belong to each of GROUPS.
ATTRIBUTES = {
    "gender": {
        "Woman": (0.49, (0.1, 0.0, -0.2, 0.0, 0.0, 0.4)),
        "Man": (0.48, (-0.1, 0.0, 0.3, 0.0, 0.0, -0.2)),
        "Non-binary": (0.03, (0.5, 0.5, 0.0, -0.4, -0.5, 0.0)),
    },
    "age": {
        "18-29": (0.26, (0.6, 1.1, 0.4, -1.2, -1.5, -0.3)),
        "30-44": (0.29, (0.1, 0.3, 0.8, -0.2, -0.6, 0.0)),
        "45-59": (0.25, (-0.2, -0.4, 0.1, 0.5, 0.3, 0.2)),
        "60+": (0.20, (-0.5, -1.2, -1.3, 0.9, 1.5, 0.4)),
    },
    "region": {
        "Old Town": (0.30, (-0.2, -0.3, -0.4, 0.3, 0.9, 0.1)),
        "Harbour": (0.25, (-0.4, 0.3, 0.5, 0.6, -0.3, -0.2)),
        "University": (0.20, (0.8, 0.8, 0.2, -0.9, -0.9, -0.2)),
        "Hills": (0.25, (0.1, -0.4, 0.0, -0.1, 0.1, 0.7)),
    },
}
#: Log-odds of belonging to a group before attributes.
BELONGING = -0.7
