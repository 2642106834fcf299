"""What the columns of data files are called, and what part of an example each of them is."""

from __future__ import annotations

from itertools import chain

# The canonical name first: it wins over the others, which must not meet in one file.
PROMPT_COLUMNS = (
    "prompt",
    "instruction",
    "question",
    "goal",
    "query",
    "source_text",
    "subject",
    "problem",
    "inputs",
)
RESPONSE_COLUMNS = (
    "response",
    "output",
    "answer",
    "completion",
    "target",
    "canonical_solution",
    "new_contents",
    "solution",
    "targets",
)
# Often a list of texts or of objects, and never read as the answer.
SEVERAL_ANSWERS = (
    "answers",
    "completions",
    "responses",
    "outputs",
    "generations",
    "candidates",
)
# With both of these, further names of answers are not the one to learn.
NATURAL_PAIRS = (("problem", "solution"),)
# Prompt and answer only where no other name says so; "input" with any name of an answer.
PAIRS_BY_BOTH_NAMES = (
    ("input", None),
    ("human", "assistant"),
    ("human", "bot"),
    ("human", "gpt"),
    ("user", "assistant"),
    ("user", "bot"),
    ("dialogue", "summary"),
    ("article", "highlights"),
    ("article", "summary"),
    ("document", "summary"),
    ("text", "summary"),
    ("source", "target"),
    ("src", "tgt"),
)
# Joined to the prompt, below it, in this order.
CONTEXT_COLUMNS = (
    "input",
    "context",
    "contexts",
    "passage",
    "passages",
    "document",
    "documents",
    "article",
    "paragraph",
    "story",
)
CONTEXT_OF = {"subject": ("old_contents",)}
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message", "system_instruction")
TURN_COLUMNS = ("messages", "conversations", "conversation")
# Dialogues where no other columns say what is asked and answered.
OTHER_TURN_COLUMNS = ("chat", "dialog", "dialogue", "turns")
TOOL_COLUMNS = ("tools", "functions")
CATEGORY = "category"
HISTORY_COLUMN = "history"
PREFERENCE_COLUMNS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
NESTED_COLUMNS = frozenset({"instruction", "instances"})
TEXT_COLUMN = "text"

KNOWN_COLUMNS = frozenset(
    {
        *PROMPT_COLUMNS,
        *RESPONSE_COLUMNS,
        *CONTEXT_COLUMNS,
        *chain.from_iterable(CONTEXT_OF.values()),
        *chain.from_iterable(PREFERENCE_COLUMNS),
        *SYSTEM_COLUMNS,
        *TURN_COLUMNS,
        *OTHER_TURN_COLUMNS,
        *TOOL_COLUMNS,
        *("instances", CATEGORY, HISTORY_COLUMN, TEXT_COLUMN),
    }
)

# In the known layouts that hold one of these answers, these are not for the model.
BESIDE_AN_ANSWER = {
    "canonical_solution": frozenset({"test"}),
    "new_contents": frozenset({"message"}),
}
