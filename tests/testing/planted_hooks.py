"""Faults that a vendor's hook can have, one each, with the check that is for it and words of its message."""

from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
from sri_plugin_block.sdar import SdarHook
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK, ToyTokenizer

from sri_sdk import Encoded, Match
from sri_sdk.records import PADDING, ForwardOutput
from sri_sdk.structure import cache_argument, cache_of


class Planted(NamedTuple):
    name: str
    hook: type
    check: str
    words: tuple[str, ...]


def changed(change, base=ToyHook):
    """The base's hook with its plan passed through a function of (hook, call, run, plan)."""

    class Changed(base):
        def plan(self, call, run):
            made = super().plan(call, run)
            return made and change(self, call, run, made)

    return Changed


def only_holes(_hook, call, _run, plan):
    return replace(
        plan, positions=plan.positions.masked_fill((call.input_ids != MASK) & (plan.positions >= 0), PADDING)
    )


def narrower(_hook, _call, _run, plan):
    return replace(plan, canvas=plan.canvas - 1, committed=plan.committed[:, :-1])


def wider(_hook, _call, _run, plan):
    more = torch.nn.functional.pad(plan.committed, (0, 1))
    return replace(plan, canvas=plan.canvas + 1, committed=more)


def prompt_told(told):
    def change(_hook, _call, run, plan):
        run.prompt = told(run.memory["start"])
        return plan

    return change


def late(_hook, _call, run, plan):
    before = run.memory.get("committed", torch.zeros_like(plan.committed))
    run.memory["committed"] = plan.committed
    return replace(plan, committed=before)


def early(_hook, _call, _run, plan):
    return replace(plan, committed=torch.nn.functional.pad(plan.committed[:, :-1], (1, 0), value=True))


def cached(_hook, _call, run, plan):
    return run.memory.setdefault("plan", plan)


def mutated(_hook, call, _run, plan):
    call.kwargs["attention_mask"][0, :2] = 1
    return plan


class NoMask(LabDiffusionHook):
    def mask_id(self):
        return 2


class MaskUnset(ToyHook):
    def mask_id(self):
        return None


class ShiftOfAnother(ToyHook):
    def shift(self):
        return 1


class CountsTheCommit(ToyHook):
    """Its example makes no such pass, so that counting steps alone cannot tell."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if made is not None:
            run.memory["last"] = made
            return made
        last = run.memory["last"]
        return replace(last, committed=torch.ones_like(last.committed))


def claims(base, *words):
    class Claims(base):
        capabilities = base.capabilities | set(words)

    return Claims


class ClaimsABudgetAndStopsEarly(SdarHook):
    capabilities = SdarHook.capabilities | {"budget"}

    def expected_steps(self, budget):
        return budget


class ClaimsABudgetWithoutSteps(ToyHook):
    def expected_steps(self, budget):
        return None


class ExpectsTheExample(ToyHook):
    def expected_steps(self, budget):
        return 8


class ExpectsAll(SdarHook):
    def expected_steps(self, budget):
        return budget


def other_layers(change, base=ToyHook):
    class Layers(base):
        def layers(self):
            return change(list(super().layers()))

    return Layers


class NamesHalfAnMlp(ToyHook):
    def sublayers(self, kind):
        return [block.think[0] for block in self.layers()] if kind == "mlp" else super().sublayers(kind)


class NamesOneMlp(LabDiffusionHook):
    def sublayers(self, kind):
        return [super().sublayers(kind)[0]] * len(self.layers())


def crossed(_hook, call, _run, plan):
    rows = len(call.input_ids)
    return replace(plan, rows=torch.arange(rows - 1, -1, -1))


class FitsByStructure(ToyHook):
    @classmethod
    def fits(cls, model):
        return Match(hasattr(model, "norm"), "looked for norm")


class FitsByConfig(LabCausalHook):
    @classmethod
    def fits(cls, model):
        return Match(model.config.mask_token_id is not None, "looked for a mask token")


class KeepsSpecials(LabCausalHook):
    def decode(self, tokenizer, tokens):
        rows = [row[:end] for row, end in zip(tokens.tolist(), self.lengths(tokens), strict=True)]
        return tokenizer.batch_decode(rows)


class DecodesOneText(ToyHook):
    def decode(self, tokenizer, tokens):
        return tokenizer.decode(tokens[0].tolist())


class DecodesTheFirstRow(ToyHook):
    def decode(self, tokenizer, tokens):
        return super().decode(tokenizer, tokens[:1])


class ReadsPastTheEnd(LabCausalHook):
    def decode(self, tokenizer, tokens):
        return tokenizer.batch_decode(tokens, skip_special_tokens=True)


class IgnoresTheSystemPrompt(ToyHook):
    def encode(self, tokenizer, texts, system_prompt=None):
        return super().encode(tokenizer, texts)


class SystemPromptAlone(ToyHook):
    def encode(self, tokenizer, texts, system_prompt=None):
        return super().encode(tokenizer, [system_prompt or text for text in texts])


class OwnTokens(ToyHook):
    """Its example has tokens of its own, as many have, so that only what commands call is wrong."""

    @classmethod
    def example(cls):
        case = super().example()
        return replace(case, encoded=ToyHook.encode(case.hook, ToyTokenizer(), ["ab", "the long story", "x y z"]))


class PadsRight(OwnTokens):
    def encode(self, tokenizer, texts, system_prompt=None):
        made = super().encode(tokenizer, texts, system_prompt)
        rows = zip(made.input_ids, made.attention_mask, strict=True)
        turned = [[x.roll(-int((m == 0).sum())) for x in (i, m)] for i, m in rows]
        return Encoded(*(torch.stack(each) for each in zip(*turned, strict=True)))


class MasksNothing(OwnTokens):
    def encode(self, tokenizer, texts, system_prompt=None):
        made = super().encode(tokenizer, texts, system_prompt)
        return Encoded(made.input_ids, torch.ones_like(made.attention_mask))


class CutsTheRequest(OwnTokens):
    def encode(self, tokenizer, texts, system_prompt=None):
        return super().encode(tokenizer, [text[-12:] for text in texts], system_prompt and system_prompt[:12])


class AddsSpecials(LabDiffusionHook):
    def tokens(self, tokenizer, text):
        return [*super().tokens(tokenizer, text), *self.eos_ids()]


class IgnoresTheSeed(ToyHook):
    @classmethod
    def load(cls, config):
        return super().load(cls.Config())


class LoadsAnything(ToyHook):
    @classmethod
    def load(cls, config):
        return super().load(cls.Config(seed=int(torch.randint(10**6, ()))))


class LoadsInTraining(ToyHook):
    @classmethod
    def load(cls, config):
        loaded = super().load(config)
        return replace(loaded, model=loaded.model.train())


class FirstEndAlone(LabCausalHook):
    def eos_ids(self):
        return super().eos_ids()[:1]


class NestsItsEnds(LabCausalHook):
    def eos_ids(self):
        return (self.model.generation_config.eos_token_id,)


class PlansByTheFirstEnd(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        run.memory["ends"] = run.memory["ends"][:1]
        return made


class PlansByTheLastEnd(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        run.memory["ends"] = run.memory["ends"][-1:]
        return made


class NotesTheFirstEndOfTheCall(LabCausalHook):
    def on_call(self, call, args, kwargs, run):
        super().on_call(call, args, kwargs, run)
        run.eos_ids = run.eos_ids and run.eos_ids[:1]


class IgnoresTheCall(LabCausalHook):
    def on_call(self, call, args, kwargs, run):
        pass


class KnowsItsEnds(LabCausalHook):
    """By heart, and right by chance."""

    known: ClassVar = {}

    @classmethod
    def example(cls):
        case = super().example()
        cls.known["ends"] = tuple(LabCausalHook.eos_ids(case.hook))
        return case

    def eos_ids(self):
        return self.known["ends"]


class CountsBehindTheEnd(LabCausalHook):
    def lengths(self, tokens, run=None):
        return [min(length + 1, tokens.shape[1]) for length in super().lengths(tokens, run)]


class LooksForTheFirstHole(ToyHook):
    def plan(self, call, run):
        run.response = None
        return super().plan(call, run)


class ForwardWithoutMask(ToyHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        return super().forward(input_ids)


class ForwardWithoutPositions(LabCausalHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        if cache is not None:
            places = places + cache.get_seq_length()
        made = self.model(
            input_ids=input_ids, position_ids=places, use_cache=use_cache, **{cache_argument(self.model): cache},
        )  # fmt: skip
        return ForwardOutput(made.logits, cache_of(made))


class ForwardShifts(ToyHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        made = super().forward(input_ids, attention_mask)
        return ForwardOutput(torch.cat([made.logits[:, :1], made.logits[:, :-1]], dim=1))


class ForwardOfTheResponse(ToyHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        return ForwardOutput(super().forward(input_ids, attention_mask).logits[:, -8:])


class ForwardDropsTheCache(LabCausalHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        return super().forward(input_ids, None if cache is not None else attention_mask, None, use_cache=use_cache)


class ForwardKeepsNoCache(LabCausalHook):
    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        return ForwardOutput(super().forward(input_ids, attention_mask).logits)


class ForwardTakesFirstRows(LabCausalHook):
    def forward_last(self, last, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        made = super().forward(input_ids, attention_mask, cache, use_cache=use_cache)
        return ForwardOutput(made.logits[:, :last], made.cache)


class CountsOnItself(LabCausalHook):
    """It begins anew with each prompt, so one generation after the other is right."""

    def plan(self, call, run):
        self.next = 0 if run.forwards == 1 else self.next + 1
        made = super().plan(call, run)
        if run.forwards == 1:
            return made
        return replace(made, positions=torch.full_like(made.positions, self.next - 1))


class EndsOnItsClass(LabCausalHook):
    ended: ClassVar = {}

    def plan(self, call, run):
        made = super().plan(call, run)
        self.ended["rows"] = made.active
        return made


class NoticesNoSecondCall(ToyHook):
    calls = ()


class OneOffBothWays(ToyHook):
    """Positions and shift are both one off: every row still predicts what it says."""

    def plan(self, call, run):
        made = super().plan(call, run)
        return made and replace(made, positions=made.positions - (made.positions != PADDING).long(), shift=1)

    def shift(self):
        return 1


class HoldsTheNextToken(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return replace(made, positions=made.positions + 1, shift=0)

    def shift(self):
        return 0


class EmbedsPlaces(ToyHook):
    def embedding(self):
        return self.model.places


PLANTED = [
    Planted("pools only the holes", changed(only_holes), "canvas-is-whole", ("committed stays on the canvas", "row")),
    Planted("canvas one short", changed(narrower), "canvas-is-whole", ("canvas 7", "responses of 8")),
    Planted("canvas one long", changed(wider), "canvas-is-whole", ("canvas 9", "responses of 8")),
    Planted("canvas absent", changed(lambda *a: replace(a[3], canvas=None)), "canvas-is-whole", ("Set `canvas` to 8",)),
    Planted("prompt unset", changed(prompt_told(lambda _: None)), "canvas-is-whole", ("run.prompt is None",)),
    Planted("prompt one off", changed(prompt_told(lambda n: n + 1)), "canvas-is-whole", ("run.prompt is 15", "to 14")),
    Planted("mask id wrong", NoMask, "committed-is-shown", ("mask_id(): says 2",)),
    Planted("mask id unset", MaskUnset, "committed-is-shown", ("mask_id(): says None", "replace: 1")),
    Planted("shift() against the plan", ShiftOfAnother, "shift-agrees", ("says 1", "step 0 says 0")),
    Planted("committed inverted", changed(lambda *a: replace(a[3], committed=~a[3].committed)), "committed-is-shown",
            ("looks inverted",)),
    Planted("committed late", changed(late), "committed-is-shown", ("one pass late",)),
    Planted("committed early", changed(early), "committed-is-shown", ("one pass early",)),
    Planted("plan cached", changed(cached), "committed-is-shown", ("very plan of pass 0", "Make a new StepPlan")),
    Planted("attention mask changed", changed(mutated, LabCausalHook), "tokens-unchanged",
            ("changes `attention_mask` of pass 0",)),
    Planted("a commit pass counted", CountsTheCommit, "finished-text-is-no-step", ("read again", "Return None")),
    Planted("draft claimed by a model that has none", claims(LabCausalHook, "draft"), "capabilities-delivered",
            ("`draft` is claimed", "no canvas")),
    Planted("budget claimed by a model that decodes", claims(LabCausalHook, "budget"), "capabilities-delivered",
            ("`budget` is claimed", "is None")),
    Planted("budget claimed by a family that stops early", ClaimsABudgetAndStopsEarly, "capabilities-delivered",
            ("may stop early", "7, 15, 17", "do not claim `budget`")),
    Planted("budget claimed without expected_steps", ClaimsABudgetWithoutSteps, "capabilities-delivered",
            ("`budget` is claimed", "is None")),
    Planted("a capability that does not exist", claims(ToyHook, "drafts"), "capabilities-delivered",
            ("drafts", "allowed")),
    Planted("expected_steps constant", ExpectsTheExample, "capabilities-delivered", ("expected_steps(1) is 8",)),
    Planted("expected_steps of a family that stops early", ExpectsAll, "capabilities-delivered", ("return None",)),
    Planted("layers reversed", other_layers(lambda found: found[::-1]), "layers-are-the-blocks",
            ("ran as `blocks.0`, `blocks.1`", "first to last")),
    Planted("the last layer missing", other_layers(lambda found: found[:-1], LabCausalHook), "layers-are-the-blocks",
            ("leaves out `model.layers.3`",)),
    Planted("the first layer missing", other_layers(lambda found: found[1:]), "layers-are-the-blocks",
            ("leaves out `blocks.0`", "1 of 2")),
    Planted("the MLPs as layers", other_layers(lambda found: [block.mlp for block in found], LabDiffusionHook),
            "layers-are-the-blocks", ("`model.layers.1.mlp` does not read", "such as an MLP")),
    Planted("no layers", other_layers(lambda found: []), "layers-are-the-blocks", ("the list is empty",)),
    Planted("an MLP's inner states", NamesHalfAnMlp, "steering-reaches-every-block",
            ("sublayers()", "`mlp 0` puts out states of 32", "as wide as the residual stream")),
    Planted("the MLP of one block for all", NamesOneMlp, "steering-reaches-every-block", ("sublayers()", "passes")),
    Planted("rows crossed", changed(crossed), "steered-rows-stay-apart", ("strength of 0", "see `rows`")),
    Planted("fits by structure alone", FitsByStructure, "fits-own-model", ("SomebodyElsesModel", "class name")),
    Planted("fits breaks on other models", FitsByConfig, "fits-own-model", ("raised AttributeError",)),
    Planted("decode keeps special tokens", KeepsSpecials, "texts-come-back",
            ("shows in the text", "skip_special_tokens")),
    Planted("decode returns a str", DecodesOneText, "texts-come-back", ("a list of 2 texts",)),
    Planted("decode of the first row", DecodesTheFirstRow, "texts-come-back", ("a list of 2 texts",)),
    Planted("decode reads past the end", ReadsPastTheEnd, "texts-come-back", ("behind an end", "self.lengths(tokens)")),
    Planted("encode ignores the system prompt", IgnoresTheSystemPrompt, "texts-are-encoded",
            ("with system_prompt=", "before the request")),
    Planted("encode writes the system prompt alone", SystemPromptAlone, "texts-are-encoded", ("with",)),
    Planted("encode pads on the right", PadsRight, "texts-are-encoded", ("behind the text of row 0", "on the left")),
    Planted("encode masks no padding", MasksNothing, "texts-are-encoded", ("0 for padding",)),
    Planted("encode cuts the request", CutsTheRequest, "texts-are-encoded", ("drops or changes its text",)),
    Planted("tokens adds special tokens", AddsSpecials, "texts-come-back", ("tokens()", "add_special_tokens=False")),
    Planted("load ignores the seed", IgnoresTheSeed, "loads-what-is-asked", ("ignores the option `seed`",)),
    Planted("load draws weights", LoadsAnything, "loads-what-is-asked", ("loaded twice",)),
    Planted("load leaves training on", LoadsInTraining, "loads-what-is-asked", ("call .eval()",)),
    Planted("the first of several ends", FirstEndAlone, "every-end-counts", ("eos_ids()", "return all")),
    Planted("ends in a list", NestsItsEnds, "every-end-counts", ("eos_ids()", "one flat tuple")),
    Planted("plan by the first end", PlansByTheFirstEnd, "every-end-counts", ("plan()", "all of eos_ids()")),
    Planted("plan by the last end", PlansByTheLastEnd, "every-end-counts", ("plan()", "all of eos_ids()")),
    Planted("the first end of a call", NotesTheFirstEndOfTheCall, "every-end-counts", ("on_call()", "every end token")),
    Planted("ends of a call ignored", IgnoresTheCall, "every-end-counts", ("on_call()", "run.eos_ids at None")),
    Planted("ends known by heart", KnowsItsEnds, "every-end-counts", ("eos_ids()", "Read it there")),
    Planted("lengths one off", CountsBehindTheEnd, "every-end-counts", ("lengths()", "that one included")),
    Planted("run.response ignored", LooksForTheFirstHole, "started-response-is-found", ("run.response",)),
    Planted("forward ignores the mask", ForwardWithoutMask, "forward-is-the-model", ("Pass `attention_mask` on",)),
    Planted("forward counts padding as places", ForwardWithoutPositions, "forward-is-the-model", ("first real token",)),
    Planted("forward shifts logits", ForwardShifts, "forward-is-the-model", ("unshifted", "logits of row 21")),
    Planted("forward of the response alone", ForwardOfTheResponse, "forward-is-the-model", ("logits [3, 22, 'V']",)),
    Planted("forward drops the cache", ForwardDropsTheCache, "forward-is-the-model", ("cache",)),
    Planted("forward keeps no cache", ForwardKeepsNoCache, "forward-is-the-model", ("cache",)),
    Planted("forward takes the first rows for the last", ForwardTakesFirstRows, "forward-is-the-model",
            ("forward_last(2)", "Count rows from the end")),
    Planted("state on self", CountsOnItself, "nothing-on-the-hook", ("`self.next` changes in pass", "run.memory")),
    Planted("state on the class", EndsOnItsClass, "nothing-on-the-hook", ("EndsOnItsClass.ended", "run.memory")),
    Planted("a second generation unnoticed", NoticesNoSecondCall, "one-generation-per-watch", ("two generations",)),
    Planted("positions and shift both one off", OneOffBothWays, "canvas-is-whole", ("by the plan", "the prompt has")),
    Planted("rows hold the next token", HoldsTheNextToken, "canvas-is-whole", ("by the plan",)),
    Planted("embedding of places", EmbedsPlaces, "steps-counted", ("0 steps", "embedding() must name")),
]  # fmt: skip
