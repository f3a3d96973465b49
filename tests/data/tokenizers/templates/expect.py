"""Writes expected.json: what transformers makes of each template and conversation.

Run in an environment with transformers: python expect.py
"""

import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as chat


class Day(datetime.datetime):
    """2026-01-05 09:08:07, whenever it is."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 5, 9, 8, 7)


chat.datetime = Day
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city <now> & later",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "n": 1.5}}}
user = lambda text: {"role": "user", "content": text}
bot = lambda text: {"role": "assistant", "content": text}
system = lambda text: {"role": "system", "content": text}
CONVERSATIONS = {
    "one": ([user("Hi there!")], {}),
    "system": ([system("Be brief."), user("  What is 2+2?\n")], {}),
    "turns": ([user("a"), bot("  b \n\n"), user("c > d & 'e' \"f\" <g>"), bot("<think>\nhm\n</think>\n\nyes"), user("é🦙\n\nx")], {}),
    "closed": ([user("a"), bot("b")], {"add_generation_prompt": False}),
    "tools": ([system("Use tools."), user("Weather?")], {"tools": [TOOL]}),
    "call": (
        [user("Weather in Zürich?"), {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "12 °C", "name": "get_weather"}],
        {"tools": [TOOL]},
    ),
    "no_thinking": ([user("Hi")], {"enable_thinking": False}),
}
BOS_EOS = ("<|bos|>", "<|eos|>")

here = pathlib.Path(__file__).parent
out = []
for path in sorted(here.glob("*.jinja")):
    template = chat._compile_jinja_template(path.read_text())
    for name, (messages, variables) in CONVERSATIONS.items():
        arguments = {"add_generation_prompt": True, **variables}
        try:
            text = template.render(messages=messages, bos_token=BOS_EOS[0], eos_token=BOS_EOS[1], **arguments)
            result = {"text": text}
        except Exception as error:  # the template's own refusals
            result = {"error": str(error)}
        out.append({"template": path.name, "conversation": name, "messages": messages, "vars": arguments, **result})
(here / "expected.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
print(len(out), sum("error" in case for case in out), "refused")
