"""Chat templates written for tests, each in the manner of a family of models.

``TEMPLATES[name]`` is ``(template, its special tokens)``.
"""

from __future__ import annotations

import copy

CHATML = """
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

CHATML_WITHOUT_PROMPT = """
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor %}"""

# R1-distill: the prompt opens a thought, and answers lose theirs.
R1_DISTILL = """{{- bos_token }}
{%- for m in messages %}
  {%- if m.role == 'system' %}{{ m.content }}
  {%- elif m.role == 'user' %}{{ '<|User|>' + m.content }}
  {%- else %}{{ '<|Assistant|>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"""

# DeepSeek's: the system prompts first, tool calls behind tokens of their own.
DEEPSEEK = """{{- bos_token }}
{%- for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}
{%- for m in messages %}
  {%- if m.role == 'user' %}{{ '<|User|>' + m.content }}
  {%- elif m.role == 'tool' %}{{ '<|output|>' + m.content + '<|end_output|>' }}
  {%- elif m.role == 'assistant' %}
    {{- '<|Assistant|>' + (m.content or '') }}
    {%- for call in m.tool_calls %}
      {{- '<|call|>' + call.function.name + '\n' + call.function.arguments + '<|end_call|>' }}
    {%- endfor %}
    {{- eos_token }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|Assistant|>' }}{% endif %}"""

# Qwen3: a thought block in every answer since the last question, none in earlier ones.
QWEN3 = """
{%- if tools %}
  {{- '<|im_start|>system\n' }}{% for tool in tools %}{{ tool | tojson }}{{ '\n' }}{% endfor %}
  {{- '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(question=0) %}
{%- for m in messages %}
  {%- if m.role == 'user' %}{% set ns.question = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}
    {%- set content = m.content %}
    {%- set thought = m.reasoning_content or '' %}
    {%- if '</think>' in content %}
      {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1] %}
      {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- '<|im_start|>assistant\n' }}
    {%- if loop.index0 > ns.question and (loop.last or thought) %}
      {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}
    {%- endif %}
    {{- content.lstrip('\n') }}
    {%- for call in m.tool_calls %}
      {{- '\n<tool_call>\n' + call.function.name + ' ' }}{{ call.function.arguments | tojson }}
      {{- '\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- else %}
    {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}
  {%- endif %}
{%- endif %}"""

# Its successor that always thinks: the prompt opens the thought, the answer's text has it too.
QWEN3_THINKING = QWEN3.replace(
    "{{- '<|im_start|>assistant\n' }}\n  {%- if enable_thinking",
    "{{- '<|im_start|>assistant\n<think>\n' }}\n  {%- if enable_thinking",
)
# And the mode without thoughts, in the prompt alone.
QWEN3_NOT_THINKING = QWEN3.replace(
    "enable_thinking is defined and not enable_thinking", "true"
).replace("(loop.last or thought)", "thought")

# Harmony: the day in the system turn, channels, another end of the last answer.
GPT_OSS = """
{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}
    {%- if m.thinking and loop.last %}
      {{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}
    {%- endif %}
    {{- '<|start|>assistant<|channel|>final<|message|>' + m.content }}
    {{- '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}
  {%- else %}
    {{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"""

# SmolLM3: the day, and a mode that is read in the system turn.
SMOLLM3 = """
{%- set text = messages[0].content if messages[0].role == 'system' else '' %}
{%- set thinks = '/no_think' not in text %}
{{- '<|im_start|>system\nToday: ' + strftime_now('%d %B %Y') + '\nMode: ' }}
{{- ('/think' if thinks else '/no_think') + '\n' + text.replace('/no_think', '').rstrip() }}
{{- '<|im_end|>\n' }}
{%- for m in messages if m.role != 'system' %}
  {{- '<|im_start|>' + m.role + '\n' }}
  {%- if m.role == 'assistant' and not thinks %}{{ '<think>\n\n</think>\n' }}{% endif %}
  {{- m.content.lstrip('\n') + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if not thinks %}{{ '<think>\n\n</think>\n' }}{% endif %}
{%- endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if date_string is not defined %}
  {%- set date_string = strftime_now('%d %b %Y') %}
{%- endif %}
{%- set rest = messages[1:] if messages[0].role == 'system' else messages %}
{{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' }}
{{- messages[0].content | trim if messages[0].role == 'system' else '' }}{{ '<|eot_id|>' }}
{%- for m in rest %}
  {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim }}
  {%- for call in m.tool_calls %}{{ '<|python_tag|>' }}{{ call.function | tojson }}{% endfor %}
  {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""

# Mistral: no generation prompt because there is no header; the system text goes with the last
# question; turns must alternate.
MISTRAL = """{{- bos_token }}
{%- set ns = namespace(system='', last=0, due='user') %}
{%- for m in messages %}
  {%- if m.role == 'system' %}{% set ns.system = m.content + '\n\n' %}
  {%- elif m.role != ns.due %}{{ raise_exception('user and assistant must alternate') }}
  {%- else %}
    {%- set ns.due = 'assistant' if m.role == 'user' else 'user' %}
    {%- if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
  {%- endif %}
{%- endfor %}
{%- for m in messages %}
  {%- if m.role == 'user' %}
    {{- '[INST] ' + (ns.system if loop.index0 == ns.last else '') + m.content + ' [/INST]' }}
  {%- elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}{% endif %}
{%- endfor %}"""

GEMMA = """{{- bos_token }}
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
  {{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}
  {{- m.content | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

PHI = """
{%- for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""

# Instruction models before chat tokens: a header in words, whose last space joins the answer.
VICUNA = """
{%- for m in messages %}
  {%- if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}
  {%- elif m.role == 'assistant' %}{{ 'ASSISTANT: ' + m.content + eos_token }}
  {%- else %}{{ m.content + '\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"""

VICUNA_WITHOUT_PROMPT = VICUNA[: VICUNA.index("{%- if add_generation_prompt")]

QUESTION_REPLY = """
{%- for m in messages %}
  {{- ('### Reply:\n' if m.role == 'assistant' else '### Question:\n') + m.content }}
  {{- eos_token + '\n' if m.role == 'assistant' else '\n\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '### Reply:\n' }}{% endif %}"""

_CHATML = ("<|im_start|>", "<|im_end|>")
_DEEPSEEK = ("<|bos|>", "<|eos|>", "<|User|>", "<|Assistant|>")
TEMPLATES = {
    "chatml": (CHATML, _CHATML),
    "chatml without prompt": (CHATML_WITHOUT_PROMPT, _CHATML),
    "r1-distill": (R1_DISTILL, _DEEPSEEK),
    "deepseek": (
        DEEPSEEK,
        (*_DEEPSEEK, "<|call|>", "<|end_call|>", "<|output|>", "<|end_output|>"),
    ),
    "qwen3": (QWEN3, _CHATML),
    "qwen3-thinking": (QWEN3_THINKING, _CHATML),
    "qwen3-not-thinking": (QWEN3_NOT_THINKING, _CHATML),
    "gpt-oss": (GPT_OSS, ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")),
    "smollm3": (SMOLLM3, _CHATML),
    "llama3": (
        LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
         "<|python_tag|>"),
    ),
    "mistral": (MISTRAL, ("<s>", "</s>")),
    "gemma": (GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")),
    "phi": (PHI, ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>")),
    "vicuna": (VICUNA, ("<s>", "</s>")),
    "vicuna without prompt": (VICUNA_WITHOUT_PROMPT, ("<s>", "</s>")),
    "question and reply": (QUESTION_REPLY, ("<s>", "</s>")),
}  # fmt: skip
_EOS = ("<|im_end|>", "<|eos|>", "<|return|>", "<|eot_id|>", "</s>", "<eos>", "<|endoftext|>")
_BOS = ("<|im_start|>", "<|bos|>", "<|start|>", "<|begin_of_text|>", "<s>", "<bos>")


def tokenizer_of(tokenizer, name: str):
    """A copy of a tokenizer with the template called ``name`` and that template's tokens."""
    template, special = TEMPLATES[name]
    changed = copy.deepcopy(tokenizer)
    eos = next(token for token in _EOS if token in special)
    bos = next((token for token in _BOS if token in special), eos)
    changed.add_special_tokens(
        {
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": eos,
            "additional_special_tokens": list(special),
        }
    )
    changed.chat_template = template
    return changed
