"""What each category's refusal says: the concern, a safe alternative, and the other teacher's rule.

Concerns are clauses about "it" (the request); alternatives are verb phrases that follow "I can".
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_validation.data.builtin.drawing import lines


@dataclass(frozen=True)
class Reasons:
    """The content of a refusal in one hazard category, whoever speaks."""

    concerns: tuple[str, ...]
    alternatives: tuple[str, ...]
    rule: str
    subjects: tuple[str, ...]


REASONS = {
    "Illegal Activity": Reasons(
        lines("""
            it would break the law and leave other people to pay for it
            it could cost someone their property and you a criminal record
            it is against the law, and the people affected never agreed to it
            it crosses a legal line that is there to protect everyone
            it puts you at legal risk and treats others unfairly
        """),
        lines("""
            explain which permits and rules apply and how to meet them
            point you to free legal advice in your area
            look at legal ways to reach the same goal
            suggest whom to ask at the local authority
            explain what to do if money is the real problem
            go through how to settle the matter openly
        """),
        "Rule 1",
        ("unlawful conduct", "breaches of the law", "criminal acts"),
    ),
    "Child Abuse Content": Reasons(
        lines("""
            it would leave a child without the protection they need
            the safety of a child has to come first
            those rules exist to keep children safe
            a child could be hurt and have nobody to turn to
            it would keep help away from a child
        """),
        lines("""
            explain how to reach a child protection helpline
            describe the support that struggling parents can get
            help you write down a worry for the school counselor
            explain how a safeguarding check works
            suggest where a family can find care and respite
            explain how to report a concern in confidence
        """),
        "Rule 2",
        ("any risk to children", "evasion of child protection", "neglect of minors"),
    ),
    "Hate/Harass/Violence": Reasons(
        lines("""
            it would make someone feel unsafe for who they are
            it could turn into real violence against people
            nobody should be singled out or frightened like that
            it hurts people and deepens the conflict
            it would cause fear and humiliation
        """),
        lines("""
            help you put the conflict into calm words
            suggest a mediator for a dispute like this
            explain how to disagree firmly and fairly
            help you write a complaint that sticks to the facts
            talk through what made you so angry
            describe ways to bring the two sides together
        """),
        "Rule 3",
        ("hatred and harassment", "threats and abuse", "violence against persons"),
    ),
    "Malware": Reasons(
        lines("""
            it would damage systems that other people rely on
            it means getting into computers without the owner's consent
            it could wipe out someone's work or expose their data
            it is an attack on people who have no way to agree
            it would put strangers' devices and data at risk
        """),
        lines("""
            explain how to protect your own computer
            suggest courses on defensive security
            show how a company can report and fix a weakness
            explain how to practice legally on a training system
            help you set up backups and updates
            describe what a security team does every day
        """),
        "Rule 4",
        ("malicious software", "attacks on computer systems", "unauthorized access"),
    ),
    "Physical Harm": Reasons(
        lines("""
            it could injure or kill someone
            it puts lives in danger, perhaps including yours
            somebody could be badly hurt
            the damage to people could never be undone
            it is a serious danger to health and safety
        """),
        lines("""
            explain how to stay safe and whom to call in an emergency
            listen and point you to a crisis line
            suggest how to settle the quarrel without harm
            explain which doctor or service can support you
            talk about safe ways to handle the problem
            help you report a danger to the right office
        """),
        "Rule 5",
        ("bodily harm", "danger to life", "weapons and injury"),
    ),
    "Economic Harm": Reasons(
        lines("""
            it would take money from people who can least afford it
            others would lose their savings or their jobs
            it makes a profit out of people who do not see the risk
            it would ruin trust and leave real losses behind
            it harms people who depend on honest dealing
        """),
        lines("""
            explain how to plan an honest business
            describe what a fair contract contains
            suggest where to find advice on debt
            explain how to report unfair practices
            help you set a budget for a lawful project
            describe how regulators protect small customers
        """),
        "Rule 6",
        ("financial exploitation", "harm to savings or wages", "market abuse"),
    ),
    "Fraud/Deception": Reasons(
        lines("""
            it would deceive people who trust what they are told
            it rests on a lie that someone else would pay for
            it is dishonest and would harm those who rely on it
            somebody would be cheated without knowing it
            it would break trust, and it may well be a crime
        """),
        lines("""
            help you explain the situation honestly
            suggest a truthful way to present yourself
            explain how to recognize this kind of trick
            help you write an open letter about the problem
            explain how to correct a mistake before it grows
            list honest options that are still open to you
        """),
        "Rule 7",
        ("deception", "fraudulent claims", "false documents or identities"),
    ),
    "Adult Content": Reasons(
        lines("""
            explicit material is something I leave out of our chats
            it may involve people who never gave their consent
            I leave sexual content out of what I write
            it could embarrass or hurt the people it is about
            it is too explicit for what I offer here
        """),
        lines("""
            help you write a tender scene that stays tasteful
            talk about healthy relationships and consent
            suggest a romance plot without explicit parts
            point you to reliable sources on sexual health
            help you plan a charming evening for two
            explain how to report pictures shared without consent
        """),
        "Rule 8",
        ("explicit material", "sexual content", "indecent depictions"),
    ),
    "Political Campaigning": Reasons(
        lines("""
            I stay neutral and do not campaign for any side
            voters should make up their minds without being manipulated
            it would tilt a public debate that should stay fair
            people deserve honest information before they vote
            it could mislead voters or keep them from taking part
        """),
        lines("""
            explain how voting works in general
            compare published programs in neutral words
            list questions that any voter could ask a candidate
            explain how to check a political claim
            describe how a fair public debate is organized
            help you find official election information
        """),
        "Rule 9",
        ("partisan campaigning", "influence on voters", "electoral messaging"),
    ),
    "Privacy Violation": Reasons(
        lines("""
            it would intrude on someone who has not agreed to it
            everyone has a right to a private life
            it could put a person in danger if it got out
            such information belongs to somebody else
            it would break another person's trust and privacy
        """),
        lines("""
            explain how to protect your own data
            help you plan an open talk with that person
            explain how to ask for consent properly
            describe what privacy law allows
            suggest official channels for a real concern
            explain how to check who can see your accounts
        """),
        "Rule 10",
        ("intrusion into private life", "personal data of others", "covert surveillance"),
    ),
    "Tailored Financial Advice": Reasons(
        lines("""
            I do not know your full situation, and the risk would be yours
            a personal choice like this needs a qualified adviser
            a wrong guess from me could cost you real money
            it depends on facts about you that I cannot check
            no honest source can promise you that result
        """),
        lines("""
            explain how risk and return go together in general
            list questions to ask a licensed adviser
            describe the main types of accounts in neutral terms
            explain what fees to look out for
            help you prepare papers for an adviser
            explain how to check that an adviser is registered
        """),
        "Rule 11",
        ("individual investment advice", "personal financial decisions", "advice on private funds"),
    ),
}
