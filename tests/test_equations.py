"""The paper's equations: worked numbers, the printed losses in plain Python, laws, and CORAL's own.

The laws run in float64, so that a rounding error is told from a wrong sum.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import levels_from_labelbatch, proba_to_label
from coral_pytorch.layers import CoralLayer
from coral_pytorch.losses import coral_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional

from mcstl import equations
from mcstl.equations import GroupTargets, KLForm

#: A slow machine is no failure.
law = settings(max_examples=40)
seeds = st.integers(0, 10_000)
numbers = st.floats(-1e4, 1e4, width=32)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: Any, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=atol)


@dataclass(frozen=True)
class Problem:
    """Random rows: every group and every class has some, and some rows are in no group."""

    y: Tensor
    logits: Tensor
    S: Tensor
    w: Tensor
    v: Tensor

    @classmethod
    def of(cls, seed: int, n: int = 12, K: int = 3, T: int = 2) -> "Problem":
        random = np.random.default_rng(seed)
        y = np.concatenate([np.arange(T + 1), random.integers(T + 1, size=n - T - 1)])
        S = random.random((n, K)) < 0.5
        S[random.integers(n - 1, size=K), np.arange(K)] = True
        S[-1] = False
        return cls(
            torch.from_numpy(random.permutation(y)),
            torch.from_numpy(-np.sort(-random.normal(0, 2, (n, T)), axis=1)),
            torch.from_numpy(S.astype(float)),
            torch.from_numpy(random.integers(1, 4, n).astype(float)),
            torch.from_numpy(random.normal(0, 1, (K, 5))),
        )

    @property
    def n_classes(self) -> int:
        return self.logits.shape[1] + 1

    def targets(self) -> GroupTargets:
        return equations.group_targets(self.S, self.w, self.y, self.n_classes)

    def loss(self, kl: KLForm = "paper", lambdas: tuple[float, float] = (0.3, 0.2)) -> float:
        """Eq. 2 (one threshold) or Eq. 4 (two), of the pieces under test."""
        y_levels = equations.levels(self.y, self.n_classes - 1).double()
        fit = self.w @ equations.cross_entropy(y_levels, self.logits)
        p = torch.sigmoid(self.logits)
        kl_sum = equations.kl_term(self.S, self.w, p, self.targets(), kl, 10_000)
        return float(fit + lambdas[0] * kl_sum + lambdas[1] * equations.l2(self.v))

    def rows(self, order: Any) -> "Problem":
        return Problem(self.y[order], self.logits[order], self.S[order], self.w[order], self.v)

    def repeated(self) -> "Problem":
        """Each row as often as its weight says."""
        again = self.rows(np.repeat(np.arange(len(self.y)), self.w.numpy().astype(int)))
        return Problem(again.y, again.logits, again.S, torch.ones_like(again.w), again.v)


problems = st.builds(
    Problem.of, seeds, n=st.integers(6, 25), K=st.integers(1, 4), T=st.integers(1, 4)
)


def binary_kl(y_bar: float, share: float, n: float) -> float:
    """§2.3 as it is printed, with 0 ln 0 = 0 and the share kept off 0 and 1."""
    q = min(max(share, 1e-6), 1 - 1e-6)
    terms = [(y_bar, q), (1 - y_bar, 1 - q)]
    return n * sum(a * math.log(a / b) for a, b in terms if a > 0)


def printed_loss(problem: Problem, lambdas: tuple[float, float], sharpness: float) -> float:
    """Eq. 2 for one threshold, Eq. 4 for two, symbol by symbol in plain Python, weights as rows."""
    rows = problem.repeated()
    y, S, v = rows.y.tolist(), rows.S.tolist(), rows.v.tolist()
    p = torch.sigmoid(rows.logits).tolist()
    n, T, classes = len(y), len(p[0]), range(problem.n_classes)
    total = 0.0
    for i in range(n):
        for t in range(T):
            total -= math.log(p[i][t] if y[i] > t else 1 - p[i][t])
    for k in range(len(v)):
        inside = [i for i in range(n) if S[i][k]]
        alpha = 0.0
        for c in classes:
            share, overall = sum(y[i] == c for i in inside) / len(inside), y.count(c) / n
            alpha += share * math.log(share / overall) if share else 0.0
        for t in range(T):
            y_bar = sum(y[i] > t for i in inside) / len(inside)
            above = sum(1 + math.tanh(sharpness * (p[i][t] - y_bar)) for i in inside)
            divergence = binary_kl(y_bar, 0.5 * above / len(inside), len(inside))
            total += lambdas[0] * alpha * divergence
        total += lambdas[1] * sum(number**2 for number in v[k])
    return total


# Worked numbers, in the paper's order.


def test_eq_1_adds_the_embeddings_of_the_groups_of_a_row() -> None:
    v = tensor([[1, 2], [10, 20], [100, 200]])
    S = tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]])
    V = equations.value_representation(S, v)
    close(V, [[101, 202], [10, 20], [0, 0], [111, 222]])
    close(equations.value_aware_representation(torch.ones(4, 2), V)[2], [1, 1])


def test_without_groups_v_is_zero() -> None:
    close(equations.value_representation(torch.zeros(3, 0), torch.zeros(0, 2)), np.zeros((3, 2)))


def test_levels_of_low_neutral_high() -> None:
    close(equations.levels(torch.tensor([0, 1, 2]), 2), [[0, 0], [1, 0], [1, 1]])
    close(equations.levels(torch.tensor([1, 0]), 1), [[1], [0]])


def test_biases_fall_by_the_softplus_of_their_gaps() -> None:
    gap = math.log(math.e - 1)  # softplus of it is 1
    close(equations.ordered_biases(tensor([0.5]), tensor([gap, gap])), [0.5, -0.5, -1.5])
    close(equations.ordered_biases(tensor([0.5]), tensor([])), [0.5])


def test_a_level_is_the_score_and_its_bias() -> None:
    close(equations.level_logits(tensor([1, -2]), tensor([3, 0.5])), [[4, 1.5], [1, -1.5]])


def test_class_probabilities_are_differences_of_levels() -> None:
    p = equations.class_probabilities(torch.logit(tensor([[0.9, 0.6, 0.1], [0.5, 0.5, 0.5]])))
    close(p, [[0.1, 0.3, 0.5, 0.1], [0.5, 0, 0, 0.5]])


def test_cross_entropy_sums_the_levels() -> None:
    logits = torch.logit(tensor([[0.8, 0.3], [0.8, 0.3], [0.8, 0.3]]))
    found = equations.cross_entropy(equations.levels(torch.tensor([0, 1, 2]), 2), logits)
    expected = [-math.log(0.2 * 0.7), -math.log(0.8 * 0.7), -math.log(0.8 * 0.3)]
    close(found, expected)


def test_group_counts_and_means_by_hand() -> None:
    S, w = tensor([[1, 0], [1, 1], [0, 1]]), tensor([1, 1, 3])
    close(equations.group_counts(S, w), [2, 4])
    close(equations.group_means(S, w, tensor([[1.0], [0.0], [1.0]])), [[1 / 2], [3 / 4]])


def test_eq_3_by_hand() -> None:
    p, S = tensor([[0.9], [0.4], [0.1]]), tensor([[1, 0], [1, 0], [0, 1]])
    share = equations.soft_share(S, torch.ones(3).double(), p, tensor([[0.5], [0.1]]), 2.0)
    close(share, [[0.25 * (2 + math.tanh(0.8) + math.tanh(-0.2))], [0.5]])


def test_eq_3_of_an_empty_level_is_a_half() -> None:
    """Printed as it is, the share of a group with y-bar = 0 tends to 1/2 and not to 0."""
    p, S = tensor([[1e-9], [1e-12]]), tensor([[1], [1]])
    close(equations.soft_share(S, torch.ones(2).double(), p, tensor([[0]]), 1e4), 0.5, atol=1e-5)


def test_binomial_kl_by_hand() -> None:
    found = equations.binomial_kl(
        tensor([[0.5, 1.0, 0.0]]), tensor([[0.25, 0.5, 0.5]]), tensor([4])
    )
    close(
        found, [[4 * (0.5 * math.log(2) + 0.5 * math.log(2 / 3)), 4 * math.log(2), 4 * math.log(2)]]
    )


def test_alpha_by_hand() -> None:
    # In the group 3 of 4 labels are 1, in all 4 of 8; nobody in it chose class 2.
    S = tensor([[1.0]] * 4 + [[0.0]] * 4)
    y = torch.tensor([1, 1, 1, 0, 1, 0, 2, 2])
    expected = 3 / 4 * math.log((3 / 4) / (1 / 2)) + 1 / 4 * math.log((1 / 4) / (1 / 4))
    close(equations.label_divergence(S, torch.ones(8).double(), y, 3), [expected])


def test_a_group_without_rows_has_no_term() -> None:
    """Part of a training set may lack a group that the whole has, as where people are held out."""
    S, w, y = tensor([[1.0, 0.0], [1.0, 0.0]]), torch.ones(2).double(), torch.tensor([1, 0])
    targets = equations.group_targets(S, w, y, 2)
    alone = equations.group_targets(S[:, :1], w, y, 2)
    p = tensor([[0.6], [0.8]])
    for form in get_args(KLForm):
        both = equations.kl_term(S, w, p, targets, form, 10_000)
        close(both, equations.kl_term(S[:, :1], w, p, alone, form, 10_000))


def test_kl_term_by_hand_in_both_forms() -> None:
    S, w, y = (
        tensor([[1.0], [1.0], [0.0], [0.0]]),
        torch.ones(4).double(),
        torch.tensor([1, 1, 1, 0]),
    )
    targets = equations.group_targets(S, w, y, 2)
    alpha = math.log(1 / (3 / 4))
    close(targets.y_bar, [[1.0]])
    close(targets.alpha, [alpha])
    p = tensor([[0.6], [0.8], [0.1], [0.2]])
    mean = equations.kl_term(S, w, p, targets, "mean", 10_000)
    close(mean, alpha * 2 * math.log(1 / 0.7))
    # No prediction is above a mean of 1, so the share is 0: the margin keeps the term finite.
    paper = equations.kl_term(S, w, p, targets, "paper", 10_000)
    close(paper, alpha * 2 * math.log(1 / equations.SHARE_MARGIN))
    close(equations.kl_term(S, w, p, targets, "none", 10_000), 0)


def test_lambda_1_of_appendix_a2() -> None:
    assert equations.lambda_1(1, 5) == pytest.approx(1 / (7.4 * 5))
    assert equations.lambda_1(2, 5) == pytest.approx(1 / (2 * 7.4 * 5))


def test_l2_sums_the_squared_norms() -> None:
    close(equations.l2(tensor([[3, 4], [1, 0]])), 26)


def test_temperature_divides_the_difference_of_rewards() -> None:
    t = equations.temperature(tensor([[1, 1], [0, 0]]), torch.log(tensor([1, 4])))
    close(t, [2, 1])
    logits = equations.preference_logits(tensor([1, 1]), tensor([3, 3]), t)
    close(torch.sigmoid(logits), [[1 / (1 + math.e)], [1 / (1 + math.e**2)]])


def test_preference_loss_is_bradley_terry() -> None:
    r_a, r_b, t = tensor([2.0, 0.5]), tensor([1.0, 1.5]), tensor([1.0, 2.0])
    p = torch.sigmoid((r_a - r_b) / t)
    found = equations.cross_entropy(tensor([[1], [0]]), equations.preference_logits(r_a, r_b, t))
    close(found, [-math.log(p[0]), -math.log(1 - p[1])])


# The printed losses.


def test_eq_2_by_hand() -> None:
    """Two of four rows in the one group; every number written out."""
    p = [0.9, 0.3, 0.6, 0.2]
    problem = Problem(
        torch.tensor([1, 0, 1, 0]),
        torch.logit(tensor([[number] for number in p])),
        tensor([[1.0], [1.0], [1.0], [0.0]]),
        torch.ones(4).double(),
        tensor([[0.6, 0.8]]),
    )
    fit = -math.log(0.9 * 0.7 * 0.6 * 0.8)
    # y-bar = 2/3: one of three predictions is above it. Labels in the group 1/3, 2/3; in all 1/2.
    divergence = 3 * (2 / 3 * math.log(2) + 1 / 3 * math.log(1 / 2))
    alpha = 1 / 3 * math.log(2 / 3) + 2 / 3 * math.log(4 / 3)
    assert problem.loss() == pytest.approx(fit + 0.3 * alpha * divergence + 0.2 * 1.0)


@law
@given(problems)
def test_the_loss_is_the_printed_one(problem: Problem) -> None:
    assert problem.loss() == pytest.approx(printed_loss(problem, (0.3, 0.2), 10_000), abs=1e-7)


@law
@given(st.builds(Problem.of, seeds, T=st.just(1)))
def test_eq_4_of_a_label_without_a_neutral_class_is_eq_2(problem: Problem) -> None:
    """A second level that no label reaches and that has no probability adds nothing."""
    far = torch.full_like(problem.logits, -60.0)
    three = Problem(problem.y, torch.cat([problem.logits, far], 1), problem.S, problem.w, problem.v)
    assert three.n_classes == 3
    # The margin at a share of 0 leaves 1e-6 per annotation.
    assert three.loss("mean") == pytest.approx(problem.loss("mean"), abs=1e-4)


# Laws.


@law
@given(numbers, st.lists(numbers, max_size=5), st.lists(numbers, min_size=1, max_size=5))
def test_ranks_are_monotone_and_probabilities_are_some(
    first: float, gaps: list[float], scores: list[float]
) -> None:
    """In float32, as in training: p^(1) >= p^(2) >= ..., and a distribution over the classes."""
    b = equations.ordered_biases(torch.tensor([first]), torch.tensor(gaps))
    logits = equations.level_logits(torch.tensor(scores), b)
    p = torch.sigmoid(logits)
    assert bool((p[:, 1:] <= p[:, :-1]).all())
    classes = equations.class_probabilities(logits)
    assert classes.shape == (len(scores), len(gaps) + 2)
    assert bool((classes >= 0).all())
    np.testing.assert_allclose(classes.sum(1), 1, rtol=0, atol=1e-6)


@law
@given(problems)
def test_levels_are_the_tails_of_the_classes(problem: Problem) -> None:
    classes = equations.class_probabilities(problem.logits)
    tails = classes.flip(1).cumsum(1).flip(1)[:, 1:]
    close(tails, torch.sigmoid(problem.logits).numpy())
    one_hot = functional.one_hot(problem.y, problem.n_classes)
    close(
        equations.levels(problem.y, problem.n_classes - 1), one_hot.flip(1).cumsum(1).flip(1)[:, 1:]
    )


@pytest.mark.parametrize("kl", ["paper", "mean", "none"])
@law
@given(problem=problems)
def test_a_weight_of_two_is_the_row_twice(kl: KLForm, problem: Problem) -> None:
    again = problem.repeated()
    ours, theirs = problem.targets(), again.targets()
    close(ours.y_bar, theirs.y_bar.numpy())
    close(ours.alpha, theirs.alpha.numpy())
    close(equations.group_counts(problem.S, problem.w), again.S.sum(0).numpy())
    assert problem.loss(kl) == pytest.approx(again.loss(kl))


@pytest.mark.parametrize("kl", ["paper", "mean"])
@law
@given(problem=problems, seed=seeds)
def test_the_order_of_rows_and_of_groups_changes_nothing(
    kl: KLForm, problem: Problem, seed: int
) -> None:
    random = np.random.default_rng(seed)
    mixed = problem.rows(random.permutation(len(problem.y)))
    groups = random.permutation(len(problem.v))
    mixed = Problem(mixed.y, mixed.logits, mixed.S[:, groups], mixed.w, mixed.v[groups])
    close(mixed.targets().alpha, problem.targets().alpha[groups].numpy())
    assert mixed.loss(kl) == pytest.approx(problem.loss(kl))
    V = equations.value_representation(problem.S, problem.v)
    close(equations.value_representation(problem.S[:, groups], problem.v[groups]), V.numpy())
    log_t = problem.v[:, 0]
    t = equations.temperature(problem.S, log_t)
    close(equations.temperature(problem.S[:, groups], log_t[groups]), t.numpy())


@law
@given(problems)
def test_swapping_a_pair_gives_the_rest_to_one(problem: Problem) -> None:
    r_a, r_b = problem.logits[:, 0], problem.w
    t = equations.temperature(problem.S, problem.v[:, 0])
    p = equations.class_probabilities(equations.preference_logits(r_a, r_b, t))
    swapped = equations.class_probabilities(equations.preference_logits(r_b, r_a, t))
    assert torch.equal(p, swapped.flip(1))


@law
@given(problems)
def test_temperature_is_the_geometric_mean(problem: Problem) -> None:
    log_t = problem.v[:, 0]
    found = equations.temperature(problem.S, log_t)
    for row, t in zip(problem.S.bool(), found, strict=True):
        assert float(t) == pytest.approx(stats.gmean(log_t[row].exp()) if row.any() else 1.0)


@law
@given(problems)
def test_a_sharp_share_is_the_hard_share(problem: Problem) -> None:
    p, y_bar = torch.sigmoid(problem.logits), problem.targets().y_bar
    # A prediction at the threshold counts half: it is neither above nor below.
    p = torch.cat([p[:-1], y_bar[:1]])
    above = (p[:, None, :] > y_bar).double() + 0.5 * (p[:, None, :] == y_bar)
    weights = problem.S * problem.w[:, None]
    hard = torch.einsum("nk,nkt->kt", weights, above) / weights.sum(0)[:, None]
    close(equations.soft_share(problem.S, problem.w, p, y_bar, 1e12), hard.numpy())


@law
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 1000))
def test_kl_is_zero_where_equal_and_else_positive(y_bar: float, share: float, n: int) -> None:
    def kl(a: float, b: float) -> float:
        return float(equations.binomial_kl(tensor([[a]]), tensor([[b]]), tensor([n])))

    assert kl(y_bar, share) >= -1e-12 * n
    # At 0 and 1 the share is kept a margin away.
    assert kl(y_bar, y_bar) == pytest.approx(0, abs=2 * n * equations.SHARE_MARGIN)
    assert kl(y_bar, share) == pytest.approx(binary_kl(y_bar, share, n), abs=1e-9)
    if abs(y_bar - share) > 0.01:
        # Pinsker's inequality.
        assert kl(y_bar, share) >= 2 * n * (abs(y_bar - share) - 1e-6) ** 2


@law
@given(problems)
def test_alpha_is_scipys_entropy_and_zero_for_everybody(problem: Problem) -> None:
    S = torch.cat([problem.S, torch.ones(len(problem.y), 1)], dim=1)
    alpha = equations.label_divergence(S, problem.w, problem.y, problem.n_classes)
    counts = np.bincount(problem.y, weights=problem.w, minlength=problem.n_classes)
    for k, row in enumerate(S.T.bool()):
        inside = np.bincount(problem.y[row], problem.w[row], problem.n_classes)
        assert float(alpha[k]) == pytest.approx(stats.entropy(inside, counts), abs=1e-12)
    assert float(alpha[-1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kl", ["paper", "mean"])
@law
@given(problem=problems)
def test_a_group_without_rows_at_hand_adds_nothing(kl: KLForm, problem: Problem) -> None:
    """A batch may miss a group: its term and its gradient are nothing, not NaN."""
    targets = problem.targets()
    batch = problem.rows(problem.S[:, 0] == 0)
    p = torch.sigmoid(batch.logits).requires_grad_()
    found = equations.kl_term(batch.S, batch.w, p, targets, kl, 10_000)
    found.backward()
    assert p.grad is not None
    assert bool(p.grad.isfinite().all())
    rest = GroupTargets(targets.y_bar[1:], targets.alpha[1:])
    others = equations.kl_term(batch.S[:, 1:], batch.w, p, rest, kl, 10_000)
    close(found, others.detach().numpy())


# What the KL term teaches.


def gradient(problem: Problem, kl: KLForm, logits: Tensor, sharpness: float = 10_000) -> Tensor:
    """The gradient of the KL term, every group with a weight of one."""
    logits = logits.clone().requires_grad_()
    p = torch.sigmoid(logits)
    targets = problem.targets()._replace(alpha=torch.ones(len(problem.v)).double())
    equations.kl_term(problem.S, problem.w, p, targets, kl, sharpness).backward()
    assert logits.grad is not None
    return logits.grad


def test_the_papers_kl_passes_no_gradient_and_the_means_does() -> None:
    """Eq. 3 with l = 10^4: a prediction 0.01 off the threshold has a gradient of zero."""
    problem = Problem.of(3, n=400, T=1)
    y_bar = problem.targets().y_bar
    off = (torch.sigmoid(problem.logits)[:, None] - y_bar).abs().amin(1) > 0.01
    assert off.double().mean() > 0.8
    paper = gradient(problem, "paper", problem.logits)[off]
    mean = gradient(problem, "mean", problem.logits)[off]
    assert float(paper.norm()) < 1e-12
    assert float(mean.norm()) > 1
    # With a blunt threshold the printed form does pass it.
    assert float(gradient(problem, "paper", problem.logits, sharpness=2)[off].norm()) > 1


def test_the_gradient_of_the_mean_form_leads_to_the_group_means() -> None:
    problem = Problem.of(5, n=60, K=2, T=1)
    y_bar, logits = problem.targets().y_bar, problem.logits + 1.5

    def distance() -> float:
        means = equations.group_means(problem.S, problem.w, torch.sigmoid(logits))
        return float((means - y_bar).abs().max())

    assert distance() > 0.2
    for _ in range(300):
        logits = logits - 0.5 * gradient(problem, "mean", logits)
    assert distance() < 1e-3


# Agreement with others.


@law
@given(problems)
def test_levels_and_loss_are_corals(problem: Problem) -> None:
    """coral_pytorch sums over levels as Eq. 4 does, and counts classes from 0."""
    theirs = levels_from_labelbatch(problem.y, problem.n_classes, dtype=torch.float64)
    ours = equations.levels(problem.y, problem.n_classes - 1)
    close(ours, theirs.numpy())
    losses = equations.cross_entropy(ours, problem.logits)
    close(losses, coral_loss(problem.logits, theirs, reduction=None).numpy())
    close(losses.mean(), coral_loss(problem.logits, theirs).numpy())


@law
@given(problems)
def test_corals_label_is_the_median_of_our_classes(problem: Problem) -> None:
    label = proba_to_label(torch.sigmoid(problem.logits))
    cumulative = equations.class_probabilities(problem.logits).cumsum(1)
    close((cumulative[:, :-1] < 0.5).sum(1), label.numpy())


def test_a_level_is_what_corals_layer_gives() -> None:
    torch.manual_seed(0)
    layer, x = CoralLayer(4, 3), torch.randn(7, 4)
    b = layer.coral_bias
    assert bool((b.diff() < 0).all())
    ours = equations.level_logits(layer.coral_weights(x).squeeze(1), b)
    close(ours, layer(x).detach().numpy())
    # Any biases that CORAL orders are among ours.
    gaps = torch.log(torch.expm1(-b.diff()))
    np.testing.assert_allclose(
        equations.ordered_biases(b[:1], gaps).detach(), b.detach(), rtol=1e-6
    )


@law
@given(st.builds(Problem.of, seeds, T=st.just(1)))
def test_one_level_is_torchs_binary_cross_entropy(problem: Problem) -> None:
    y = problem.y.double()
    losses = equations.cross_entropy(equations.levels(problem.y, 1), problem.logits)
    p = torch.sigmoid(problem.logits[:, 0])
    close(losses, functional.binary_cross_entropy(p, y, reduction="none").numpy())
    own = equations.class_probabilities(problem.logits)[torch.arange(len(y)), problem.y]
    close(losses, -own.log().numpy())
