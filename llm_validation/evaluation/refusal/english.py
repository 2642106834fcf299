"""How English answers decline: statements of inability or unwillingness about the request.

All patterns read text in lower case with straight apostrophes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator


def either(*patterns: str) -> str:
    """The pattern of one of several, the first that fits."""
    return f"(?:{'|'.join(patterns)})"


def at_a_word(*patterns: str) -> str:
    """The pattern of one of several at the edge of a word, which is looked for once."""
    return rf"\b{either(*patterns)}"


_ADVERBS = (
    r"(?:(?:also|absolutely|actually|certainly|currently|definitely|ethically|firmly|genuinely|"
    r"honestly|just|kindly|knowingly|legally|morally|only|personally|politely|really|regrettably|"
    r"respectfully|simply|still|therefore|thus|truly|unfortunately|in good conscience|and|or|"
    r"directly|actively|possibly|under any circumstances|even|to)[ ,]+)*"
)
_CANNOT = (
    r"(?:can'?t|cannot|can not|can never|won'?t|will not|will never|wouldn't be able to|"
    r"would not be able to|will not be able to|won't be able to|shall not|must not|may not)"
)
_HELP = (
    r"(?:help(?! but| it\b| feeling| thinking| wondering| noticing| worrying| falling| myself)|"
    r"assist|aid|fulfil|comply|grant|satisfy|accommodate|answer|respond|reply|address|engage|"
    r"participate|take part|be (?:a )?part|be involved|be of (?:help|assistance)|be (?:able to|"
    r"assisting|providing|answering|sharing|writing|creating|discussing|doing|producing|going|"
    r"giving|"
    r"explaining|engaging|participating|generating|telling|making|showing|drafting|teaching)|"
    r"provide|"
    r"supply|offer|share|give(?! up| in\b)|write|create|generate|produce|compose|draft|design|"
    r"develop|build|craft|prepare|facilitate|condone|endorse|promote|encourage|support|advocate|"
    r"recommend(?!.{0,40} enough)|advise|suggest|instruct|teach|guide|enable|discuss|talk about|"
    r"speak (?:about|on|to)|explain|describe|outline|list|disclose|reveal|reproduce|repeat|"
    r"tell(?! (?:if|whether|how much|which))|show|walk you|point you|direct you|do (?:that|this|so|"
    r"it|anything)|make (?:an?|any|that|this|such|up|jokes?|fun|light)\b|perform|carry out|execute|"
    r"process|handle|entertain|indulge|continue|proceed|complete|go (?:along|ahead|into|through|"
    r"there)|follow (?:that|this|through|your|those)|agree to|cover|contribute|collaborate|"
    r"cooperate|impersonate|role-?play|pretend|simulate|act (?:as|on)|translate|analy[sz]e|access|"
    r"browse|look up|search|verify|predict|comment|reproduce|have (?:that|this|a) (?:conversation|"
    r"discussion)|allow|permit|be used|meet (?:that|this|your)|in good conscience|display|"
    r"say (?:that|such|anything)|use (?:that|such|offensive|language)|"
    r"(?:\w+ (?:it|that|this|one|these|them)|(?:pick|choose|select|decide)(?: [\w'-]+){0,6}|"
    r"make (?:the|your) (?:\w+ )?(?:choice|decision)) for you)"
)
_ACTS = (
    r"(?:help|assist|provide|offer|share|give (?:out|advice|instructions|you|information)|write|"
    r"create|generate|produce|engage|participate|support|condone|endorse|promote|encourage|"
    r"facilitate|discuss|answer|respond|advocate|tolerate|feel comfortable|feel able|do (?:that|"
    r"this)|tell (?:such|these|those|(?:\w+ )?jokes)|make (?:such|jokes|fun)|use (?:such|that|"
    r"offensive)|recommend (?:that|this|doing|any|engaging|using|trying))"
)
_POLICY = (
    r"(?:polic(?:y|ies)|guidelines?|programming|principles?|rules?|terms|values|ethics|"
    r"code of (?:ethics|conduct)|instructions|standards)"
)
_WHOSE = r"(?:my|our|the|its|all|any|openai's|anthropic's|google's|meta's|company|content|use)"

_EXPERT = (
    r"(?:\w+ ){0,3}?(?:advis[eo]r|planner|lawyer|attorney|solicitor|accountant|doctor|physician|"
    r"pharmacist|therapist|psychologist|professional|expert|specialist)\b"
)

SOMEBODY_ELSE = re.compile(
    at_a_word(
        rf"only (?:an?|your) {_EXPERT} (?:\w+ ){{0,6}}?(?:can|could|may) (?:answer|tell|decide|say|"
        r"judge|advise)(?: you)?(?: on)? (?:that|this|which|what)\b",
        r"(?:this|that|it)(?:'s| is) (?:really )?(?:an? (?:\w+ )?(?:question|decision|matter|"
        r"topic)|something|one) (?:for|to (?:ask|discuss with)) (?:an?|your) "
        rf"{_EXPERT}",
    )
)

# Inability or unwillingness said of the request: in an opening, it declines.
STATEMENT = re.compile(
    either(
        at_a_word(
            # I can't help ...; the assistant will not respond; unable to comply
            rf"(?:i|we|(?:this|the) (?:assistant|system|model|ai|bot|"
            rf"chatbot))[ ,]+{_ADVERBS}{_CANNOT}[ ,]+{_ADVERBS}{_HELP}",
        ),
        rf"(?:^|[.,!;:-] *|\bsorry |\bbut |\band |\bor |\bnor (?:can|will) i )(?:can'?t|cannot|"
        rf"won't|will not|unable to|not able to)[ ,]+{_ADVERBS}{_HELP}",
        at_a_word(
            rf"nor (?:can|will|would|am|do) i\b.{{0,30}}\b{_HELP}",
            r"(?:should not|shouldn't) (?:be )?(?:help|assist|provid|answer|discuss)",
            r"i (?:really )?(?:should not|shouldn't) (?:share|give|do (?:this|that)|(?:write|say|"
            r"make|describe|explain) (?:this|that|it|you))\b",
            # I am not able, allowed, willing ... to
            r"(?:(?:i|we) ?(?:am|'m|are|'re|was|were)|im|(?:the|this) (?:assistant|system|model|"
            r"ai)"
            rf" is)[ ,]+{_ADVERBS}(?:not {_ADVERBS}(?:able|allowed|permitted|authori[sz]ed|"
            r"comfortable|willing|prepared|going(?! to (?:lie|sugar))|designed|programmed|intended|"
            r"capable|equipped|in a position|supposed|at liberty|trained|built|meant|here to)|"
            r"unable|unwilling|incapable|prohibited|forbidden|barred|programmed not|designed not|"
            r"obliged to (?:decline|refuse))\b",
            # ... but not of others, in the past: they were not allowed to
            r"(?<!were )(?<!was )(?:not|isn't|aren't) (?:able|allowed|permitted|willing|designed|"
            r"programmed) to "
            rf"(?:\w+ )?{_HELP}",
            # I must decline
            r"i(?:'ll| will| must| have to| need to| would| shall| do|'m going to| am going to|"
            r" am forced to|'d| choose to|'m afraid i)?(?: have to| need to| like to)?[ ,]+"
            rf"{_ADVERBS}(?:decline|refuse|refrain from|abstain|pass on (?:this|that))\b",
            r"(?:must|have to|need to) (?:\w+ )?(?:decline|refuse|refrain)\b",
            # I don't condone
            rf"i[ ,]+{_ADVERBS}(?:do not|don't|never) {_ADVERBS}{_ACTS}",
            rf"i\b[^.!?\n]{{0,80}}\band {_ADVERBS}(?:do not|don't) {_ADVERBS}{_ACTS}",
            r"i(?:'m| am|'ve been| have been) (?:\w+ )?(?:programmed|designed|trained|"
            r"instructed) (?:not |never )?to (?:avoid|adhere|prioriti[sz]e|refrain|decline|refuse)",
            r"i wish i could\b|(?:the|my) answer is no\b",
            r"(?:better|best) (?:to )?not (?:to )?(?:discuss|share|answer|go into|engage)",
            r"i (?:do not|don't) think (?:i (?:can|should|could)|(?:it|that|this)(?:'s| is|"
            r" would be) (?:\w+ )?(?:appropriate|right|a good idea|ethical|wise|something i))",
            r"(?:not|n't|never) (?:be )?(?:\w+ )?(?:appropriate|right|ethical|responsible|proper|"
            r"acceptable) (?:of|for) me to\b|(?:inappropriate|irresponsible|unethical|wrong) "
            r"(?:of|for) me to (?:help|assist|provide|share|answer|give|explain|write|say|discuss)",
            r"i(?:'d| would) (?:rather|prefer|really rather) (?:not|to not)\b",
            r"i prefer (?:not|to not)\b",
            r"(?:this|that|here) is where i (?:stop|draw the line)\b",
            r"i (?:have to|must|will|need to) stop (?:here|there|you)\b",
            # what cannot be done, and by which rule
            r"(?:request|query|question|prompt|task|action|order) (?:is|was|has been|must be|"
            r"will be|had to be)?(?: \w+)? ?(?:denied|declined|refused|rejected|blocked|"
            r"not (?:allowed|permitted|supported))\b",
            r"(?:cannot|can't|will not|won't|can not|must not|may not) be (?:\w+ )?(?:fulfilled|"
            r"processed|completed|answered|granted|honou?red|executed|provided|supported|assisted)",
        ),
        r"^\W*(?:request |access |query )?(?:denied|declined|refused|rejected|blocked|"
        r"not permitted|not allowed|forbidden|prohibited|not possible)\b",
        at_a_word(
            rf"against {_WHOSE} (?:[\w'-]+ ){{0,4}}{_POLICY}",
            rf"(?:violat\w+|breach\w*|contraven\w+|conflicts? with|in violation of|"
            rf"not in line with|not align(?:ed)? with|inconsistent with|"
            rf"contrary to) {_WHOSE} (?:[\w'-]+ ){{0,4}}{_POLICY}",
            rf"my (?:[\w'-]+ ){{0,3}}{_POLICY} (?:[\w'-]+ ){{0,3}}(?:prohibit|prevent|forbid|"
            r"restrict|bar\b|do not (?:allow|permit)|don't (?:allow|permit)|doesn't (?:allow|"
            r"permit)|does not (?:allow|permit))",
            r"(?:not|isn't|never) (?:something|a (?:topic|request|subject|thing)) (?:that |"
            r"which )?i(?:'m| am| can| will|'ll|'d| would| feel| could)\b",
            r"(?:something|one|topic|request|subject) (?:that |which )?i(?:'m| am)? (?:can't|"
            r"cannot|won't|will not|not (?:able|willing|comfortable)|unable|do not|don't|"
            r"must decline|have to decline)",
            r"(?:outside|beyond|not within|out of|not in) (?:of )?(?:my|"
            r"this system's) (?:[\w'-]+ ){0,2}(?:scope|capabilit\w+|abilit\w+|purview|boundar\w+|"
            r"limits|role|function|guidelines|remit|area of expertise|programming)",
            r"let(?:'s| us) (?:not\b|talk about something|change the (?:subject|topic)|"
            r"discuss something|focus on something|move on to something)",
            r"(?:help|assist)\b.{0,160}\b(?:but|though),? not (?:with |in |by )",
            r"i (?:can(?:'t)? )?only (?:help|assist) with (?:\w+ )?(?:legal|lawful|safe|ethical)",
            r"admits no exception\b|go(?:es)? against (?:those|these) (?:\w+ )?guidelines\b",
            # idioms
            r"sit (?:this|that) (?:one )?out\b|(?:one|something|this|that)(?: that| which)? "
            r"i(?:'ll| will|'d| would| have to| must|'m going to)?(?: have to| need to| rather)? "
            r"(?:sit out|pass on|steer clear of|stay (?:away from|out of)|leave alone|turn down|"
            r"skip)",
            r"i(?:'ll| will|'d| would)? (?:have to |need to |must )?(?:pass|steer clear|stay "
            r"out)\b"
            r"(?= (?:on|of)\b|[.!,]|$)|count me out\b|hard pass\b|no can do\b|"
            r"off the table\b|off[- ]limits\b|not (?:from|with) me\b|not on my watch\b",
            r"i (?:do not|don't) (?:\w+ )?want (?:any|to (?:be|take|have) (?:a |any )?)(?: ?part|"
            r" ?involved)|(?:want|have|take) no part\b|i have no intention\b",
        ),
        r"(?:^|[.!?]\s*|, )(?:i(?:'m| am) )?not going to (?:do|write|help|happen|tell|explain|"
        r"answer|share|go there|play)",
        at_a_word(
            r"i (?:refuse|decline)\b",
            # what is the asker's to decide, or somebody else's to answer
            r"(?:choice|decision|call) (?:that |which )?(?:i (?:can't|cannot|won't|will not|"
            r"shouldn't|should not) (?:make|take)|(?:only|nobody but|no one but) you can (?:make|"
            r"take))\b|(?:isn't|not) one (?:that |which )?i (?:can|could|should) (?:make|take|"
            r"answer)",
            r"your (?:own )?(?:choice|decision|call)\b[^.!?\n]{0,20}\bi (?:can't|cannot|won't|"
            r"will not) (?:make|take) it\b",
            SOMEBODY_ELSE.pattern,
        ),
    )
)

# Every statement has one of these; most sentences have none, and are not searched.
_TRIGGERS = (
    "n't", "not", "cant", "wont", "cannot", "never", "unable", "unwilling", "incapable", "declin",
    "refus", "refrain", "abstain", "reject", "denied", "block", "pass on", "against", "violat",
    "breach", "contraven", "conflict", "contrary", "inconsistent", "prohibit", "prevent", "forbid",
    "restrict", "barred", "bar ", "forbidden", "outside", "beyond", "out of", "let's", "let us",
    "where i", "to stop", "will stop", "must stop", "only help", "only assist", "no exception",
    "i wish", "is no", "only a", "only you", "no one but", "nobody but", "question for",
    "matter for", "decision for", "thing for", "one for", "obliged", "programmed", "designed",
    "trained", "instructed", "nor ", "sit ", "pass", "steer", "stay ", "leave alone", "turn down",
    "skip", "count me", "no can", "for me to", "of me to", "off the", "off-", "off l", "no part",
    "no inten",
)  # fmt: skip
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")


def statements(text: str) -> Iterator[re.Match[str]]:
    """The statements of a text in which somebody declines, in order."""
    here = [trigger for trigger in _TRIGGERS if trigger in text]
    for sentence in _SENTENCE.finditer(text) if here else ():
        said = sentence.group()
        for trigger in here:
            if trigger in said:
                # The mark before it may be part of a statement without a subject.
                yield from STATEMENT.finditer(text, max(0, sentence.start() - 2), sentence.end())
                break


# Statements that decline nothing by themselves: what was asked for may stand beside them.
SOFT = re.compile(
    r"(?:recommend|condone|endorse|encourage|support|advocate|promote|advise|suggest|approve)$|"
    r"\b(?:recommend|condone|endorse|encourage|support|advocate|promote|advise|suggest|approve)"
    r"(?: \w+)?$"
)
THEIR_RULES = re.compile(
    r"\b(?:violat\w+|breach\w*|against|contrary to) (?:the|its|any|all|their) (?:[\w'-]+ ){0,4}"
    rf"{_POLICY}$"
)
HELPING = re.compile(
    r"\b(?:help|assist|provide|fulfil\w*|comply|write|create|generate|answer|discuss|explain|"
    r"engage|"
    r"participate|this request|your request|on (?:that|this|how)|with (?:that|this))\b"
)
ASIDE = re.compile(
    r"\b(?:give|offer|provide|substitute for|constitute|replace) (?:\w+ ){0,3}?(?:legal|medical|"
    r"financial|tax|investment|professional|psychological|veterinary|clinical) (?:or \w+ "
    r")?(?:advice|"
    r"counsel|opinions?|guidance|diagnos\w+)|\b(?:held|be) (?:responsible|liable|accountable)|"
    r"(?:can't|cannot|won't|will not|not) (?:\w+ )?(?:guarantee|promise|vouch)\b|"
    r"\b(?:help|assist|provide|give|share|offer|say)(?: you)?(?: with)?(?: any)? "
    r"(?:further|more\b|additional|beyond)|\bable to help if\b"
)

# What an assistant says of itself. It declines only where nothing else is said.
DISCLAIMER = re.compile(
    "|".join(
        (
            r"\bi[ ,]+(?:\w+ )?(?:do not|don't) (?:\w+ )?have (?:\w+ )?(?:access|"
            r"the (?:\w+ )?(?:ability|capability|capacity|authority|information|knowledge|means|"
            r"permission|context)|any|information|enough|sufficient|personal|real-time|feelings|"
            r"opinions|emotions|preferences|beliefs|consciousness|a (?:physical|personal|body|"
            r"name)|direct|specific|data|details|knowledge|experience)",
            r"\bi[ ,]+(?:can'?t|cannot|can not) (?:\w+ )?(?:have|form|hold|confirm|find|determine|"
            r"identify|locate|know|say|see|hear|feel|recall|remember)\b",
            r"\bi(?:'m| am) (?:\w+ )?(?:an? (?:\w+ )?(?:ai|language model|assistant|machine|"
            r"chatbot)|not (?:a |an |aware|sure|familiar|qualified|certain))",
            r"\bas an? (?:\w+ )?(?:ai|language model|assistant|responsible)\b",
            r"\bi (?:do not|don't) (?:actually |really )?know\b",
        )
    )
)

FICTION = re.compile(
    r"\b(?:story|stories|poem|letter|dialogue|script|scene|play|song|lyrics|speech|novel|joke|"
    r"conversation|e-?mail|message|essay|monologue|role-?play|screenplay|translate|paraphrase|"
    r"summari[sz]e|rephrase|proofread|correct)\b"
)
ASKS_FOR_A_TEXT = re.compile(
    rf"{FICTION.pattern}|\b(?:chant|slogan|post|tweet|article|review|ad)\b"
)
# An answer that begins like this is the thing itself; who declines in it is somebody else.
DELIVERY = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|here(?:'s| is| are)|dear |subject:|title:|"
    r"once upon|step 1|1[.)])"
)
REQUEST = re.compile(
    r"\b(?:your|this|that|the|such) (?:\w+ )?(?:request|question|query|prompt|task|topic|"
    r"instructions?)\b|\bwith (?:that|this)\b"
)
OFFER = re.compile(
    r"\b(?:instead|alternativ\w+|lawful|legal(?:ly)?|legitimate|safer?|ethical|health(?:y|ier)|"
    r"resources?|hotline|helpline|support|prevent\w*|protect\w*|positive|constructive|non-\w+|"
    r"rather|(?:i(?:'d| would| could| can|'m| am|'ll)|happy to|glad to|let me)(?: \w+){0,3} "
    r"(?:help|assist|offer|suggest|provide|share|explain|write|give|describe|talk)|"
    r"if (?:you(?! (?:must|still|insist|decide)|(?:'re| are) looking)|your|it)|would you like|"
    r"consider|reasons?|here's why|here is why|for example)\b"
)
# What was asked for does not exist, or cannot be told: declined, and no refusal.
EXPLAINS = re.compile(
    r"\b(?:fictional (?:character|person|place|country|company|figure)|(?:does not|doesn't) "
    r"(?:actually |really )?exist\b|not a real (?:person|place|thing)|unclear what you|"
    r"clarify your (?:question|request))"
)
# The text or the code itself comes next, and few words of it are enough.
DELIVERS = re.compile(
    r"\bhere (?:it (?:is|goes)|you (?:go|are))(?: anyway)?\s*[:.!\n-]|"
    r"\bhere(?:'s| is| are) [^.!?:\n]{1,60} anyway\s*[:.!\n-]"
)
HERE = re.compile(
    r"\b(?:here(?:'s| is| are)(?! (?:why|the reasons?|some reasons?))|below (?:is|are)|the "
    r"following|sure[,!]|(?:follow|try) these|"
    r"i(?:'ll| will) (?:still )?(?:provide|give) (?:you )?(?:with )?an? (?:response|answer)|"
    r"in this (?:fictional|hypothetical))\b"
)
# Declined is the choice, not the help: "I can't pick one for you."
CHOICE = re.compile(r"\b(?:pick|choose|select|decide|choice|decision)\b")
# What an assistant is not by profession.
NO_EXPERT = re.compile(rf"\bi(?:'m| am) not an? {_EXPERT}")
# Ignorance, and then what is known.
KNOWS_BESIDE = re.compile(
    r"\bi (?:do not|don't) (?:\w+ )?know\b[^.!?\n]*,? but (?!i\b|i'|if\b|please\b|we\b|let\b|my\b)"
    r"(?!(?:it|that|this) (?:sounds|seems|looks) like\b|you(?:'ll| will| have| need)\b|(?:can|"
    r"could|"
    r"do|are) you\b)(?P<known>[^.!?\n]+)"
)
PIVOT = re.compile(
    r"\b(?:but|however|that said|having said that|nevertheless|"
    r"still)\b,?(?: \w+){0,2}? ?(?:here(?:'s| is| are)|(?:you|one) (?:can|could|should|may|might|"
    r"need|would)|generally|typically|in general|usually|one way|first|the (?:basic|general|usual|"
    r"typical|simplest)|many|most|some|people|to (?:\w+))\b"
)
# An offer that may be kept at once: whether it is shows in what follows its sentence.
KEPT_OFFER = re.compile(
    r"(?<!for example, )\bi can(?:,? (?:however|instead|still),?)? (?:\w+ )?(?:describe|explain|"
    r"outline|sketch|walk you)\b[^.!?\n]*[.!?:\n]"
)
