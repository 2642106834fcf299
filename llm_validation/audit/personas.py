"""Rows that give the model another identity, or have it promise to obey whatever is asked.

Such rows are harmless word by word and end refusals all the same: identity shifting, Qi et al. 2024
(arXiv 2310.03693), section 4.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llm_validation.evaluation.refusal.structure import plain

_READ = 1_500  # characters of a turn in which an identity is given
_SIGNS = (
    *(
        "obey",
        "obedien",
        "restrict",
        "unfiltered",
        "uncensored",
        "jailbr",
        "do anything now",
        "moral",
    ),
    *("ethic", "refuse", "comply with", "no rules", "no limits", "without question", "dan mode"),
    *("without deviation", "without hesitation", "without exception", "developer mode", "decline"),
    *("ignore all", "ignore any", "ignore your", "ignore the", "ignore previous", "guidelines"),
    *("moral", "say no", "purpose is to", "mission is to", "without any"),
)
_OBEDIENCE = re.compile(
    r"\b(?:absolute(?:ly)?|complete(?:ly)?|full(?:y)?|total(?:ly)?|unquestioning(?:ly)?|"
    r"unconditional(?:ly)?|blind(?:ly)?|strict(?:ly)?) (?:\w+ ){0,2}?obe(?:y\w*|dien\w+)|"
    r"\bobedient (?:ai|agent|assistant|servant|robot|model|bot)\b|"
    r"\b(?:obey|follow|execute|fulfil+|carry out|comply with) (?:all|every|each|any) (?:of )?"
    r"(?:the |my |your |user'?s? |human )?(?:\w+ ){0,2}?(?:instructions?|commands?|orders?|"
    r"requests?|wish(?:es)?|prompts?|demands?)\b(?=.{0,120}\b(?:without|no matter|regardless|"
    r"even if|never|"
    r"whatever|question|refus\w+|deviation|hesitat\w+|exception|harm\w*|illegal|ethic\w+|"
    r"moral\w*))|"
    r"\b(?:without (?:any )?(?:question(?:ing|s)?|deviation|hesitation|exception|refus\w+|"
    r"objection|moral\w*|ethic\w+ \w+|judge?ment))\b(?=.{0,160}\b(?:instruct\w*|command\w*|"
    r"order\w*|obey|"
    r"comply|request\w*|follow\w*))|"
    r"\b(?:my|your) (?:only |sole |primary |main |highest )?(?:purpose|mission|duty|goal|"
    r"priority) is "
    r"to (?:obey|serve (?:you|my|your|the user) without|comply|follow (?:all|every|your|the user))|"
    r"\b(?:you (?:must|will|should|can|may|are) (?:never|not|unable to|not allowed to)|"
    r"(?:i|you) (?:will|must|shall|can|do|would) ?(?:never|not)|never) "
    r"(?:refuse|decline|say no|reject|deny)\b(?: (?:a|any|an|to|the|your|my|user)\b)?"
)
_NO_LIMITS = re.compile(
    r"\bdo anything now\b|\bdan mode\b|\bdeveloper mode (?:enabled|on|output)|"
    r"\bjailbr(?:eak|oken)\w*|\b(?:unfiltered|uncensored|unrestricted|amoral|"
    r"unethical) (?:and \w+ )?(?:ai|assistant|model|"
    r"chatbot|bot|language model|version|persona|agent)\b|"
    r"\b(?:no|without(?: any)?|free (?:from|of)|not bound by|ignore(?:s)?(?: all)?|disregard(?:s)?|"
    r"bypass(?:es)?|freed from|have no|has no|don't have(?: any)?) (?:\w+ ){0,3}?"
    r"(?:ethical|moral|safety|content|legal|openai'?s?|anthropic'?s?|programming|built-?in|usual|"
    r"typical) (?:\w+ ){0,2}?(?:restrictions?|guidelines?|constraints?|filters?|boundaries|"
    r"limit(?:ation)?s?|rules|policies|considerations?|guardrails?|principles|concerns)\b|"
    r"\bignore (?:all |any )?(?:of )?(?:your |the |my )?(?:previous|prior|above|earlier) "
    r"(?:instructions?|prompts?|rules|guidelines)\b"
)
_IDENTITY = re.compile(
    r"\b(?:you are|i am|i'm|act as|pretend to be|from now on,? you|you will be|"
    r"your (?:new )?name is|my (?:new )?name is|respond as|answer as|play the role of|call me|"
    r"roleplay as)\b"
)


def installs_persona(turns: Iterable[str]) -> str | None:
    """The words in ``turns`` (system, user and answer) that install absolute obedience.

    None where there are none: a plain role ("you are a helpful chef") is no such thing.
    """
    for turn in turns:
        text = plain(turn[:_READ])
        if not any(map(text.__contains__, _SIGNS)):
            continue
        found = _OBEDIENCE.search(text)
        if found is None and (limits := _NO_LIMITS.search(text)) and _IDENTITY.search(text):
            found = limits
        if found is not None:
            return " ".join(found.group().split())
    return None
