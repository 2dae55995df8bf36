"""Magpie: an aligned model, given only what stands before a user's message, writes the user's message.

    pica run magpie n=1000 teacher=openai/NAME@http://localhost:8000/v1 --out DIR

Source: Xu et al., "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing" (2024). How it
differs from the authors' code is in this folder's README.
"""

from __future__ import annotations

from itertools import islice, tee
from math import ceil
from typing import Any

from pica.recipes.magpie.config import MagpieConfig
from pica.recipes.magpie.finish import finish, settings, tools
from pica.recipes.magpie.rows import MagpiePreferenceRow, MagpieRow
from pica.recipes.magpie.sanitize import Sanitized, sanitize
from pica.recipes.magpie.tags import PROMPTS, Tagger, conversation
from pica.synth.errors import Reject
from pica.synth.formats import pair
from pica.synth.models.base import Answer, Message, Sampling, assistant, system, user
from pica.synth.plan import Plan, Step
from pica.synth.preferences import Diagnosis, diagnose
from pica.synth.progress import Progress
from pica.synth.prompts import Prompt
from pica.synth.recipe import Recipe
from pica.synth.report import Bars, Section
from pica.synth.rows import Provenance
from pica.synth.run import Draft, Run, together
from pica.synth.table import Table
from pica.synth.templates import ChatTemplate, chat_template

STARTS = 4  # tries for an instruction that does not start as the family must not


class Magpie(Recipe[MagpieConfig]):
    """Instructions sampled from the pre-query template, answered, tagged and filtered."""

    name = "magpie"
    config_class = MagpieConfig

    def __init__(self, config: MagpieConfig) -> None:
        super().__init__(config)
        assert config.responder is not None
        self.responder = config.responder
        self.tagger = Tagger(config)
        self.subjects = config.subjects()
        self.template: ChatTemplate
        self.diagnosis: Diagnosis | None = None

    @property
    def row_class(self) -> type[Provenance]:
        """Conversations, or preference pairs."""
        return MagpiePreferenceRow if self.config.preferences.k else MagpieRow

    @property
    def pool(self) -> int:
        """More rows than wanted where they are selected."""
        return ceil(self.config.n * self.config.select.pool)

    async def prepare(self, run: Run) -> None:
        """Derive the chat template; find the files and packages that `finish` needs."""
        self.tools = tools(self.config)
        model = run.caller.lane(self.config.teacher).model
        self.template = await chat_template(self.config.template, model)
        stop = tuple(dict.fromkeys([*self.config.instruction.stop, *self.template.stop]))
        self.instruction = self.config.instruction.model_copy(update={"stop": stop})
        advised = {key: value for key, value in self.template.sampling.items() if getattr(self.instruction, key) != value}
        if advised:
            settings = " ".join(f"instruction.{key}={value:g}" for key, value in advised.items())
            run.say(f"the published setting for {self.template.family} is {settings}; going on with yours")

    async def make_row(self, draft: Draft) -> MagpieRow | MagpiePreferenceRow:
        """One conversation: sample, answer, go on for `turns`, tag."""
        config, control = self.config, self._control(draft.index)
        prefix = self._prefix(control)
        first = await self._instruction(draft, "instruction", prefix)
        draft.keep(instruction=first.text, instruction_edits=list(first.edits), control=control)
        answers, messages = await self._answers(draft, first.text)
        tagged, fields = await together(self.tagger.of_instruction(draft, first.text),
                                        self._judged(draft, answers, messages))
        unparsed = sorted({*tagged.pop("unparsed"), *fields.pop("unparsed")})
        users = sum(len(m["content"]) for m in messages if m["role"] == "user")
        common: dict[str, Any] = {
            "id": draft.id, "recipe": self.name, "model": self.responder.name, "seed": draft.seed, "calls": draft.calls,
            "instruction": first.text, "instruction_edits": list(first.edits), "instruction_model": config.teacher.name,
            "input_temperature": self.instruction.temperature, "input_top_p": self.instruction.top_p,
            "pre_query_template": prefix, "control": control, "turns": config.turns, "input_length": users,
            "unparsed": unparsed, "response_temperature": self._response.temperature, **tagged, **fields}
        return MagpiePreferenceRow(**common) if config.preferences.k else MagpieRow(messages=list(messages), **common)  # type: ignore[arg-type]

    def _control(self, index: int) -> str:
        """What row `index` is steered to: subjects take turns."""
        if self.subjects:
            return self.subjects[index % len(self.subjects)]
        return "" if self.config.control == "none" else self.config.control

    def _prefix(self, control: str) -> str:
        """The text before the user's first words, behind a system message where the row is steered."""
        if self.config.control == "none":
            return self.template.pre_query
        prompt: Prompt = PROMPTS[f"control_{self.config.control}"]
        text = prompt.fill(**{slot: control for slot in prompt.slots})
        return self.template.pre_query_with_system(text)

    async def _instruction(self, draft: Draft, step: str, prefix: str) -> Sanitized:
        """A clean user message; one that starts as this family must not is sampled again, as a mask on its first token
        would have it."""
        config, attempt = self.config.sanitize, 0
        while True:
            answer = await draft.complete(step, self.config.teacher, prefix, self.instruction, attempt=attempt,
                                          bos=self.template.bos)
            if step == "instruction":
                draft.keep(instruction=answer.text)
            try:
                return sanitize(answer.text, truncated=answer.truncated, policy=config.never_stopped,
                                min_chars=config.min_chars, max_chars=config.max_chars, allow_colon=config.allow_colon,
                                forbid_start=self.template.forbid_start)
            except Reject as reject:
                attempt += 1
                if reject.reason != "forbidden start" or attempt == STARTS:
                    raise

    @property
    def _response(self) -> Sampling:
        preferences = self.config.preferences
        if not preferences.k:
            return self.config.response
        return self.config.response.model_copy(update={"temperature": preferences.temperature, "top_p": preferences.top_p})

    async def _answers(self, draft: Draft, instruction: str) -> tuple[list[str], list[Message]]:
        """(answers to the first instruction, the whole conversation with the first answer)."""
        messages = [user(instruction)]
        found = await draft.samples("response", self.responder, messages, self._response, max(self.config.preferences.k, 1))
        texts = [self._usable(answer) for answer in found]
        messages.append(assistant(texts[0]))
        draft.keep(messages=messages)
        for turn in range(2, self.config.turns + 1):
            helper = system(PROMPTS["multi_turn_helper"].fill())
            follow = await self._instruction(draft, f"instruction_{turn}", self.template.next_turn([helper, *messages]))
            messages.append(user(follow.text))
            answer = (await draft.samples(f"response_{turn}", self.responder, messages, self._response, 1))[0]
            messages.append(assistant(self._usable(answer)))
        return texts, messages

    def _usable(self, answer: Answer) -> str:
        text = answer.text.strip()
        if not text:
            raise Reject("empty answer")
        if answer.truncated and self.config.response_never_stopped == "reject":
            raise Reject("answer never stopped", f"{answer.completion_tokens} tokens")
        return text

    async def _judged(self, draft: Draft, answers: list[str], messages: list[Message]) -> dict[str, Any]:
        """Rewards, the pair, the base model's answer, safety."""
        instruction = messages[0]["content"]
        wants_reward = "reward" in self.config.tags
        safety, base, *scored = await together(
            self.tagger.safety(draft, messages), self._base(draft, instruction),
            *(self.tagger.reward(draft, f"reward_{k}", conversation(instruction, text) if len(answers) > 1 else messages)
              for k, text in enumerate(answers) if wants_reward))
        rewards = [reward for reward, _ in scored]
        unparsed = [*safety.pop("unparsed", []), *base.pop("unparsed", []), *(name for _, names in scored for name in names)]
        fields = {**safety, **base, "unparsed": unparsed, "reward_model": self.tagger.reward_name if scored else None}
        if self.config.preferences.k:
            return {**fields, **self._pair(instruction, answers, rewards)}
        reward = rewards[0] if rewards else None
        fields["output_length"] = sum(len(m["content"]) for m in messages if m["role"] == "assistant")
        return {**fields, "instruct_reward": reward, "reward_difference": _difference(reward, base.get("base_reward"))}

    def _pair(self, instruction: str, answers: list[str], rewards: list[float | None]) -> dict[str, Any]:
        """Best against worst; of equal rewards the first sample counts."""
        known = [reward for reward in rewards if reward is not None]
        if len(known) < len(rewards):
            raise Reject("an answer has no reward", f"{len(rewards) - len(known)} of {len(rewards)}")
        best, worst = known.index(max(known)), known.index(min(known))
        if known[best] - known[worst] <= self.config.preferences.min_margin:
            raise Reject("answers score alike", f"margin {known[best] - known[worst]:g}")
        if answers[best] == answers[worst]:
            raise Reject("chosen equals rejected")
        return {"prompt": [user(instruction)], "chosen": [assistant(answers[best])], "rejected": [assistant(answers[worst])],
                "score_chosen": known[best], "score_rejected": known[worst], "instruct_reward": known[best],
                "responses": answers, "rewards": known, "output_length": len(answers[best])}

    async def _base(self, draft: Draft, instruction: str) -> dict[str, Any]:
        """The base model's answer to the instruction, shown a few examples, and its reward."""
        if self.config.base is None:
            return {}
        filled = PROMPTS["base_answer"].filled({"instruction": instruction})
        sampling = Sampling(temperature=0.0, max_tokens=self.config.response.max_tokens,
                            stop=(f"<{filled.marks['instruction']}>",))
        answer = (await draft.complete("base", self.config.base, filled.text, sampling)).text.strip()
        reward, unparsed = (await self.tagger.reward(draft, "base_reward", conversation(instruction, answer))
                            if answer and "reward" in self.config.tags else (None, []))
        return {"base_output": answer, "base_reward": reward, "base_model": self.config.base.name, "unparsed": unparsed}

    def finish(self, table: Table, progress: Progress) -> None:
        """Copies, distances, filters, selection; then a look at the pairs."""
        table.notes.update(template=self.template.source, family=self.template.family, pre_query=self.template.pre_query,
                           prompts={name: prompt.hash for name, prompt in PROMPTS.items()}, filters=settings(self.config))
        lost = sum(1 for names in table.column("unparsed") if names)
        if lost:
            table.notes["unparsed_rows"] = lost
            table.notes["warnings"] = [f"{lost:,} rows have a tag whose answer could not be parsed; it is left empty"]
        finish(self.config, table, self.tools, progress)
        if self.config.preferences.k:
            self.diagnosis = self._diagnose(table)
            table.notes["preferences"] = self.diagnosis.to_json()
            table.notes["warnings"] = [*table.notes.get("warnings", []), *self.diagnosis.warnings()]

    def _diagnose(self, table: Table) -> Diagnosis:
        """The pairs of the rows that stay: of those alive, the number asked for."""
        rows, splits = tee(islice(table.splits(), self.config.n))
        return diagnose((pair(row) for _, row in rows), (split for split, _ in splits))

    def plan(self) -> Plan:
        """Calls a row; token counts are typical lengths."""
        config, tags = self.config, self.config.tags
        k, turns = max(config.preferences.k, 1), config.turns
        answer = min(config.response.max_tokens, 500)
        assert config.tagger is not None and config.judge is not None
        steps = [Step("instruction", config.teacher, turns, 20 + 600 * (turns - 1), 80),
                 Step("response", self.responder, k + turns - 1, 80 + 600 * (turns - 1), answer)]
        steps += [Step(tag, config.tagger, 1, 450, 90) for tag in ("difficulty", "quality", "category") if tag in tags]
        if "safety" in tags:
            steps.append(Step("safety", config.guard or config.judge, 1, 450 + answer, 20))
        if "reward" in tags:
            steps.append(Step("reward", config.reward or config.judge, k, 450 + answer, 0 if config.reward else 80))
        if config.base is not None:
            steps.append(Step("base", config.base, 1, 600, answer))
            if "reward" in tags:
                steps.append(Step("base_reward", config.reward or config.judge, 1, 450 + answer, 0 if config.reward else 80))
        return Plan(self.pool, steps)

    def sections(self, table: Table) -> list[Section]:
        """How often sanitising changed what; what there is to say of pairs."""
        edits: dict[str, int] = {}
        for names in table.column("instruction_edits"):
            for name in names:
                edits[name] = edits.get(name, 0) + 1
        ranked = sorted(edits.items(), key=lambda item: (-item[1], item[0]))
        sections: list[Section] = self.diagnosis.sections() if self.diagnosis else []
        return [Bars("What sanitising removed", ranked, note="accepted instructions, by edit"), *sections] if ranked else sections

    def card(self, table: Table) -> str:
        """What the data is."""
        notes = table.notes
        lines = [
            f"Instructions were sampled from `{self.config.teacher.name}` given only the text before a user's message, and "
            f"answered by `{self.responder.name}` (Magpie, [arXiv:2406.08464](https://arxiv.org/abs/2406.08464)).",
            f"Chat template: {notes['template']}."]
        if "selection" in notes:
            lines.append(notes["selection"])
        lines.append("Tags, safety and rewards are a model's opinion; the columns name the model. Nothing here was checked by "
                     "a person.")
        return "\n\n".join(lines)


def _difference(reward: float | None, base: float | None) -> float | None:
    return None if reward is None or base is None else reward - base


RECIPE = Magpie
