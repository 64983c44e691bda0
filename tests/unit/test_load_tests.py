"""What the load generator's code may use: it runs on machines without the rest."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("locustfile.py", "outcomes.py")


def test_load_generator_imports_of_ours_only_the_auction() -> None:
    ours: set[str] = set()
    for name in FILES:
        tree = ast.parse((ROOT / "load-tests" / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    ours |= {each.name for each in names if each.name.startswith("pkg")}
                case ast.ImportFrom(module=str(module)) if module.startswith("pkg"):
                    ours.add(module)

    assert ours
    assert all(each.startswith("pkg.auction.") for each in ours)


def test_every_user_and_variable_is_documented() -> None:
    readme = (ROOT / "load-tests" / "README.md").read_text(encoding="utf-8")
    source = (ROOT / "load-tests" / "locustfile.py").read_text(encoding="utf-8")
    variables = {
        ast.literal_eval(node.args[0])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get"
    }

    assert [row.split("`")[1] for row in readme.splitlines() if row.startswith("| `")] == [
        *_users(),
        *sorted(variables, key=lambda each: readme.index(f"| `{each}`")),
    ]


def test_ecs_tasks_can_have_every_user() -> None:
    """Terraform refuses other names, for a task that ends at once is only started again."""
    variables = (ROOT / "terraform" / "variables.tf").read_text(encoding="utf-8")
    (named,) = re.findall(r"contains\(\[(.*)\], var\.load_generator\.bidders\)", variables)

    assert re.findall(r"\w+", named) == _users()


def _users() -> list[str]:
    source = (ROOT / "load-tests" / "locustfile.py").read_text(encoding="utf-8")
    return [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name != "Bidder"
    ]
