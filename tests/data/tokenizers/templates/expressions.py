"""Writes expressions.json: what Jinja makes of each expression and statement in expressions.txt.

Run in an environment with jinja2: python expressions.py
The environment is that of transformers' chat templates.
"""

import json
import pathlib

import jinja2.ext
import jinja2.sandbox


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
VARIABLES = {
    "s": "Hello, World! é🦙ß",
    "spaced": "  a b \t c\n ",
    "n": 42,
    "x": 2.5,
    "list": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "map": {"b": 1, "a": [1, None, True], "é": "x\ny"},
    "rows": [{"k": "a", "v": 2}, {"k": "b", "v": 1}, {"k": "a", "v": 3}],
    "empty": "",
    "none_value": None,
}

here = pathlib.Path(__file__).parent
cases = []
for line in (here / "expressions.txt").read_text().splitlines():
    if not line or line.startswith("# "):
        continue
    source = line.replace("\\n", "\n") if line.startswith("{%") else "{{ " + line + " }}"
    try:
        cases.append({"source": source, "text": environment.from_string(source).render(**VARIABLES)})
    except Exception as error:
        cases.append({"source": source, "error": f"{type(error).__name__}: {error}"})
out = {"variables": VARIABLES, "cases": cases}
(here / "expressions.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
print(len(cases), sum("error" in case for case in cases), "refused")
