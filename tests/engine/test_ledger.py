"""Rows of flat batches: chunks of prompts, prefix caches, requests whose memory was taken away, and those that end."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import pytest

from sri_sdk.engine.ledger import Admitted, Chunk, Ledger, PassPlan

SIZE = 4


def ledger(blocks: int = 64, *, reads: bool = True) -> Ledger:
    return Ledger(reads=reads, block_size=SIZE, blocks=blocks)


def hashes(prompt: Sequence[int], size: int = SIZE) -> list[bytes]:
    """One per full block; it says all that comes before, as an engine's does."""
    return [bytes(prompt[: (block + 1) * size]) for block in range(len(prompt) // size)]


class Sums:
    """Adds up what plans say, with one number per row instead of a state."""

    def __init__(self, book: Ledger) -> None:
        self.book = book
        self.slots: dict[int, float] = {}
        self.blocks: dict[int, float] = {}
        self.steps: dict[str, list[float]] = {}
        self.found: dict[str, tuple[float, int, bool]] = {}

    def run(self, batch: Sequence[tuple[Chunk, Sequence[float]]], *, fails: bool = False) -> PassPlan:
        """A pass over chunks whose tokens have these states; after one that fails, rows hold what others left there."""
        plan = self.book.plan([chunk for chunk, _ in batch])
        if fails:
            for rows_of, named in ((self.slots, plan.cleared), (self.blocks, plan.fresh)):
                for row in named:
                    rows_of.setdefault(row, 1e6)
            return plan
        rows = [number for _, states in batch for number in states]
        assert plan.tokens == len(rows)
        for request, row in plan.steps:
            self.steps.setdefault(request, []).append(rows[row])
        self.slots.update(dict.fromkeys(plan.cleared, 0.0))
        self.blocks.update(dict.fromkeys(plan.fresh, 0.0))
        for each in plan.additions:
            added = sum(rows[each.start : each.stop])
            if each.slot is not None:
                self.slots[each.slot] += added
            if each.block is not None:
                self.blocks[each.block] += added
        for slot, block in plan.recalled:
            self.slots[slot] += self.blocks[block]
        for request, read_slot, tokens, whole in plan.read:
            self.found[request] = (0.0 if read_slot is None else self.slots[read_slot], tokens, whole)
        self.book.carried_out()
        return plan


def chunk(request: str, states: Sequence[float], start: int, stop: int) -> tuple[Chunk, Sequence[float]]:
    return Chunk(request, start, stop - start), states[start:stop]


def test_a_prompt_in_one_pass_gives_one_step_and_then_each_token_one() -> None:
    sums = Sums(ledger())
    sums.book.admit(Admitted("a", 3, (1, 3)))
    sums.run([chunk("a", [1, 2, 3], 0, 3)])
    sums.run([chunk("a", [1, 2, 3, 4], 3, 4)])
    sums.run([chunk("a", [1, 2, 3, 4, 5], 4, 5)])
    assert sums.steps == {"a": [3, 4, 5]}
    assert sums.found == {"a": (5, 2, True)}


def test_rows_of_a_flat_batch_go_to_their_own_requests() -> None:
    sums = Sums(ledger())
    for name, length in (("a", 2), ("b", 3)):
        sums.book.admit(Admitted(name, length, (0, length)))
    sums.run([chunk("b", [10, 20, 30], 0, 3), chunk("a", [1, 2], 0, 2)])
    sums.run([chunk("a", [1, 2, 3], 2, 3), chunk("b", [10, 20, 30, 40], 3, 4)])
    assert sums.steps == {"a": [2, 3], "b": [30, 40]}
    assert sums.found == {"a": (3, 2, True), "b": (60, 3, True)}


@pytest.mark.parametrize("width", [1, 2, 3, 5, 11])
def test_a_prompt_in_chunks_has_its_steps_and_its_request_as_in_one_pass(width: int) -> None:
    sums, states = Sums(ledger()), list(range(1, 12))
    sums.book.admit(Admitted("a", 11, (2, 9), hashes(states)))
    for start in range(0, 11, width):
        sums.run([chunk("a", states, start, min(start + width, 11))])
    assert sums.steps == {"a": [11]}
    assert sums.found == {"a": (sum(states[2:9]), 7, True)}


def test_a_chunk_that_ends_before_the_prompt_is_no_step() -> None:
    sums = Sums(ledger())
    sums.book.admit(Admitted("a", 4))
    assert not sums.run([chunk("a", [1, 2, 3, 4], 0, 3)]).steps


def test_what_a_prefix_cache_spares_comes_from_the_sums_of_its_blocks() -> None:
    sums, first, second = Sums(ledger()), list(range(1, 11)), [1, 2, 3, 4, 5, 6, 7, 8, 90, 91, 92]
    sums.book.admit(Admitted("a", 10, (2, 10), hashes(first)))
    sums.run([chunk("a", first, 0, 10)])
    sums.book.admit(Admitted("b", 11, (2, 11), hashes(second)))
    sums.run([chunk("b", second, 8, 11)])
    assert sums.found["b"] == (sum(second[2:]), 9, True)
    assert sums.steps["b"] == [92]


def test_blocks_that_the_same_pass_computes_for_a_neighbour_count_too() -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    for name in ("a", "b"):
        sums.book.admit(Admitted(name, 10, (1, 9), hashes(states)))
    # The neighbour stands in front: order in the batch is not order of scheduling.
    sums.run([chunk("b", states, 8, 10), chunk("a", states, 0, 10)])
    assert sums.found["b"] == sums.found["a"] == (sum(states[1:9]), 8, True)


def test_an_evicted_block_takes_its_sum_along_and_the_request_was_not_seen() -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (0, 10), hashes(states)))
    sums.run([chunk("a", states, 0, 10)])
    sums.book.evicted([hashes(states)[1]])
    sums.book.admit(Admitted("b", 10, (0, 10), hashes(states)))
    sums.run([chunk("b", states, 8, 10)])
    assert not sums.found["b"][2]
    assert sums.steps["b"] == [10], "the other parts are judged all the same"


def test_a_block_that_holds_another_part_of_the_request_is_not_taken_for_its_own() -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (6, 10), hashes(states)))
    sums.run([chunk("a", states, 0, 10)])
    sums.book.admit(Admitted("b", 10, (5, 10), hashes(states)))
    sums.run([chunk("b", states, 8, 10)])
    assert not sums.found["b"][2]


def test_blocks_without_a_token_of_the_request_need_no_sum() -> None:
    sums, states = Sums(ledger(blocks=0)), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (8, 10), hashes(states)))
    sums.run([chunk("a", states, 8, 10)])
    assert sums.found["a"] == (19, 2, True)


def test_a_cache_without_sums_leaves_the_request_unseen() -> None:
    sums, states = Sums(ledger(blocks=0)), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (0, 10), hashes(states)))
    sums.run([chunk("a", states, 4, 10)])
    assert not sums.found["a"][2]


def test_text_that_is_computed_a_second_time_counts_once() -> None:
    sums, states = Sums(ledger()), [1, 2, 3, 4, 5, 6, 7]
    sums.book.admit(Admitted("a", 4, (0, 4), hashes(states[:4])))
    sums.run([chunk("a", states, 0, 4)])
    sums.run([chunk("a", states, 4, 5)])
    sums.run([chunk("a", states, 5, 6)])
    # Its memory was taken away: prompt and answer come again, and then the next token.
    sums.run([chunk("a", states, 0, 3)])
    sums.run([chunk("a", states, 3, 7)])
    assert sums.steps == {"a": [4, 5, 6, 7]}
    assert sums.found == {"a": (10, 4, True)}


def test_a_prompt_interrupted_halfway_is_read_on_where_it_was() -> None:
    sums, states = Sums(ledger()), list(range(1, 13))
    sums.book.admit(Admitted("a", 12, (1, 12), hashes(states)))
    sums.run([chunk("a", states, 0, 7)])
    sums.run([chunk("a", states, 4, 12)])
    assert sums.found == {"a": (sum(states[1:]), 11, True)}
    sums.book.admit(Admitted("b", 12, (1, 12), hashes(states)))
    sums.run([chunk("b", states, 8, 12)])
    assert sums.found["b"] == (sum(states[1:]), 11, True), "the sums of its blocks are whole as well"


def test_a_gap_is_not_filled_with_guesses() -> None:
    sums = Sums(ledger())
    sums.book.admit(Admitted("a", 2))
    sums.run([chunk("a", [1, 2], 0, 2)])
    sums.run([chunk("a", [1, 2, 3, 4], 3, 4)])
    assert sums.book.end("a") == 2, "two steps of the three that the engine made"


def test_a_step_that_nobody_was_told_of_is_noticed_although_the_engine_runs_ahead() -> None:
    """Four tokens, one pass not told, and one pass too many: as many rows as there are tokens."""
    sums, states = Sums(ledger()), [1, 2, 3, 4, 5, 6, 7, 8]
    sums.book.admit(Admitted("a", 4))
    told = [sums.run([chunk("a", states, start, stop)]).gaps for start, stop in ((0, 4), (4, 5), (6, 7), (7, 8))]
    assert told == [[], [], ["a"], []]


def test_a_prompt_whose_end_was_not_told_is_noticed() -> None:
    sums, states = Sums(ledger()), [1, 2, 3, 4, 5]
    sums.book.admit(Admitted("a", 4))
    assert not sums.run([chunk("a", states, 0, 2)]).gaps
    assert sums.run([chunk("a", states, 4, 5)]).gaps == ["a"]


@pytest.mark.parametrize("said", [True, False])
def test_a_pass_that_failed_leaves_no_sum_to_its_neighbours(said: bool) -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (0, 10), hashes(states)))
    sums.run([chunk("a", states, 0, 10)], fails=True)
    if said:
        sums.book.lost()
        assert not len(sums.book.blocks)
    sums.book.admit(Admitted("b", 10, (0, 10), hashes(states)))
    sums.run([chunk("b", states, 8, 10)])
    assert not sums.found["b"][2]
    assert sums.steps["b"] == [10]
    # Computed again, its blocks are kept as if nothing had been.
    for name, start in (("c", 0), ("d", 8)):
        sums.book.admit(Admitted(name, 10, (0, 10), hashes(states)))
        sums.run([chunk(name, states, start, 10)])
        assert sums.found[name] == (sum(states), 10, True)


def test_a_pass_that_failed_takes_nothing_that_was_whole_before() -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    for name, start in (("a", 0), ("b", 8)):
        sums.book.admit(Admitted(name, 10, (0, 10), hashes(states)))
        sums.run([chunk(name, states, start, 10)], fails=name == "b")
    sums.book.admit(Admitted("c", 10, (0, 10), hashes(states)))
    sums.run([chunk("c", states, 8, 10)])
    assert sums.found["c"] == (sum(states), 10, True)


def test_a_block_of_which_a_part_was_lost_is_not_completed() -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (0, 10), hashes(states)))
    sums.run([chunk("a", states, 0, 2)], fails=True)
    sums.run([chunk("a", states, 2, 10)])
    assert not sums.found["a"][2], "two of its tokens were never added up"
    sums.book.admit(Admitted("b", 10, (0, 10), hashes(states)))
    sums.run([chunk("b", states, 4, 10)])
    assert not sums.found["b"][2], "nor is the first block known"


def test_a_plan_that_cannot_be_made_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, states = Sums(ledger()), list(range(1, 11))
    sums.book.admit(Admitted("a", 10, (0, 10), hashes(states)))
    with monkeypatch.context() as patched:
        patched.setattr(sums.book, "_finish", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            sums.book.plan([Chunk("a", 0, 10)])
    sums.book.admit(Admitted("b", 10, (0, 10), hashes(states)))
    sums.run([chunk("b", states, 8, 10)])
    assert not sums.found["b"][2]


def test_requests_that_nobody_admitted_are_left_out_and_their_rows_counted() -> None:
    sums = Sums(ledger())
    sums.book.admit(Admitted("a", 1))
    plan = sums.run([chunk("stranger", [7, 8], 0, 2), chunk("a", [1], 0, 1)])
    assert plan.requests == ("a",)
    assert sums.steps == {"a": [1]}


def test_an_id_that_comes_again_begins_anew() -> None:
    sums = Sums(ledger())
    sums.book.admit(Admitted("a", 1))
    sums.run([chunk("a", [1], 0, 1)])
    sums.book.admit(Admitted("a", 2, (0, 2)))
    sums.run([chunk("a", [5, 6], 0, 2)])
    assert sums.steps == {"a": [1, 6]}
    assert sums.found["a"] == (11, 2, True)


def test_nothing_is_read_of_requests_for_a_guard_that_does_not() -> None:
    sums = Sums(ledger(reads=False))
    sums.book.admit(Admitted("a", 4, (0, 4), hashes([1, 2, 3, 4])))
    plan = sums.run([chunk("a", [1, 2, 3, 4], 0, 4)])
    assert not plan.additions
    assert not plan.read
    assert sums.steps == {"a": [4]}


def test_slots_of_requests_that_ended_are_used_again() -> None:
    sums = Sums(ledger())
    for number in range(20):
        name = f"r{number}"
        sums.book.admit(Admitted(name, 3, (0, 3)))
        sums.run([chunk(name, [1, 2, 3], 0, 2)])
        sums.book.end(name)
    assert sums.book.slots == 1


@pytest.mark.parametrize("seed", range(12))
def test_an_engine_at_random_gives_what_each_request_alone_would_have(seed: int) -> None:
    """Chunks, prefix hits, preemption, aborts and evictions, against the same requests one by one."""
    chance = random.Random(seed)
    sums = Sums(ledger(blocks=chance.choice([0, 3, 8, 64])))
    wanted: dict[str, tuple[list[float], float]] = {}
    for name, plan in _engine(sums, chance, wanted):
        assert plan.tokens >= 0, name
    assert wanted
    for name, (steps, request) in wanted.items():
        assert sums.steps.get(name, []) == steps[: len(sums.steps.get(name, []))]
        if name in sums.found and sums.found[name][2]:
            assert sums.found[name][0] == pytest.approx(request)
    assert sums.book.blocks.capacity == 0 or any(whole for *_, whole in sums.found.values())


def _engine(
    sums: Sums, chance: random.Random, wanted: dict[str, tuple[list[float], float]]
) -> Iterator[tuple[str, PassPlan]]:
    """Forty requests over few prompts; a state is a number made of all tokens up to its own, as in a causal model."""
    texts = [[chance.randrange(1, 5) for _ in range(chance.randrange(5, 30))] for _ in range(4)]
    waiting, running = [f"r{number}" for number in range(40)], dict[str, int]()
    prompts: dict[str, list[int]] = {}
    states: dict[str, list[float]] = {}
    cached: dict[bytes, None] = {}
    while waiting or running:
        while waiting and len(running) < 4:
            name = waiting.pop()
            base = chance.choice(texts)
            prompts[name] = [*base[: chance.randrange(1, len(base) + 1)], *([9] if chance.random() < 0.5 else [])]
            prompt, answer = prompts[name], chance.randrange(1, 9)
            states[name] = _states([*prompt, *[5] * answer])
            span = (min(1, len(prompt) - 1), len(prompt))
            sums.book.admit(Admitted(name, len(prompt), span, hashes(prompt)))
            wanted[name] = states[name][len(prompt) - 1 :], sum(states[name][span[0] : span[1]])
            running[name] = _hit(prompt, cached)
        batch = []
        for name, at in list(running.items()):
            stop = min(at + chance.randrange(1, 9), len(states[name]))
            if at >= len(prompts[name]):
                stop = at + 1
            batch.append(chunk(name, states[name], at, stop))
            running[name] = stop
            cached.update(dict.fromkeys(h for h in hashes(prompts[name]) if len(h) <= stop))
        chance.shuffle(batch)
        yield "pass", sums.run(batch)
        for name, at in list(running.items()):
            if at >= len(states[name]) or chance.random() < 0.02:
                del running[name]
                sums.book.end(name)
            elif chance.random() < 0.1:
                running[name] = _hit(prompts[name], cached)
        if cached and chance.random() < 0.1:
            gone = chance.choice(list(cached))
            dropped = [each for each in cached if each[: len(gone)] == gone]
            for each in dropped:
                del cached[each]
            sums.book.evicted(dropped)


def _hit(prompt: Sequence[int], cached: Mapping[bytes, None]) -> int:
    """Tokens that the cache has of a prompt: full blocks, and never the last token."""
    found = 0
    for each in hashes(prompt):
        if each not in cached or len(each) > len(prompt) - 1:
            break
        found = len(each)
    return found


def _states(tokens: Sequence[int]) -> list[float]:
    value, found = 0.0, []
    for token in tokens:
        value = (value * 31 + token) % 10007
        found.append(value)
    return found
