#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may include whom: the table of docs/architecture.md, and a failure for any other include.

usage: tests/layering.py [FOLDER]

Checks every tracked file of the repository: its includes against the table, no include cycle, an SPDX
line; and that every row of the table is about some file. Before that it checks itself on a small tree
that breaks every rule once.
"""

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
PUBLIC = "libclient/include/"
TABLE = "docs/architecture.md"

# Libraries that only some folders may meet. A row lists those that its files may include.
LIBRARIES = {
    "asio": r"boost/",
    "cereal": r"cereal/",
    "gpu": r"(gbm\.h|EGL/|GL/|GLES\d/|KHR/|vulkan/)",
    "drm": r"(xf86drm|libdrm/|drm/|drm_|drm\.h)",
    "dmabuf": r"linux/(dma-buf|sync_file)\.h$",
    "systemd": r"systemd/",
    "cli": r"(CLI/|png\.h)",
    "json": r"nlohmann/",
    "gtest": r"(gtest|gmock)/",
    "clock": r"(chrono|ctime|time\.h|sys/time\.h|sys/timerfd\.h)$",
    "socket": r"(sys/socket\.h|sys/un\.h)$",
}

def read_rules(page):
    """The table of the architecture page: {prefix: (what of ours it may include, which libraries)}."""
    rows = page.split("<!-- layers -->")[1].split("\n\n")[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {files.strip("`"): (re.findall(r"`([^`]+)`", ours), libraries.split()) for files, _, ours, libraries in cells}


# The longest prefix of a file's path decides.
RULES = read_rules((SOURCE / TABLE).read_text())
# Uses that need no include.
FORBIDDEN_TEXT = {"daemon/core/": r"\b(clock_gettime|steady_clock|system_clock|gettimeofday)\b"}

CODE = (".cpp", ".hpp", ".c", ".h")
LICENSED = CODE + (".py", ".sh", ".scd", ".service", ".socket", ".map", "meson.build", "meson_options.txt")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def rule_of(path):
    return max((prefix for prefix in RULES if path.startswith(prefix)), key=len, default=None)


def includes(text):
    """(is it quoted, name) of each include outside block comments."""
    return [(quote == '"', name) for quote, name in INCLUDE.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.S))]


def resolve(name, files):
    """The file of ours that an include means, or None."""
    return next((path for path in (name, PUBLIC + name) if path in files), None)


def bad_include(path, quoted, name, files):
    allowed, libraries = RULES[rule_of(path)]
    target = resolve(name, files)
    if target:
        return None if any(target.startswith(prefix) for prefix in allowed) else f"may not include {target}"
    if quoted and not re.match("|".join(LIBRARIES.values()), name):
        return f'includes "{name}", which is no file from the top of the repository'
    for library, pattern in LIBRARIES.items():
        if re.match(pattern, name) and library not in libraries:
            return f"may not include {library} headers: <{name}>"
    return None


def bad_includes(path, files):
    if rule_of(path) is None:
        return [f"lies in a folder that the table of {TABLE} does not know"]
    problems = [bad_include(path, quoted, name, files) for quoted, name in includes(files[path])]
    for prefix, pattern in FORBIDDEN_TEXT.items():
        if path.startswith(prefix) and (found := re.search(pattern, files[path])):
            problems.append(f"may not use {found.group()}")
    return [problem for problem in problems if problem]


def cycles(files):
    """Each include cycle once, as the path that closes it."""
    graph = {path: {target for _, name in includes(text) if (target := resolve(name, files))}
             for path, text in files.items() if path.endswith(CODE)}
    found, done, stack = [], set(), []

    def visit(path):
        if path in stack:
            found.append(" -> ".join([*stack[stack.index(path):], path]))
        elif path not in done:
            stack.append(path)
            for target in sorted(graph[path]):
                visit(target)
            done.add(stack.pop())

    for path in sorted(graph):
        visit(path)
    return found


def lacks_licence(path, text):
    scripts = text.startswith("#!")
    if not (path.endswith(LICENSED) or scripts):
        return False
    return not any("SPDX-License-Identifier: MIT" in line for line in text.splitlines()[:3])


def check(files):
    """(name of the check, problem or None) for everything."""
    for path in sorted(files):
        if path.endswith(CODE):
            problems = bad_includes(path, files)
            yield f"includes of {path}", "; ".join(problems) or None
        if path.endswith(LICENSED) or files[path].startswith("#!"):
            yield f"licence of {path}", "has no SPDX line" if lacks_licence(path, files[path]) else None
    found = cycles(files)
    yield "include cycles", "; ".join(found) or None


def check_table(files):
    """(name of the check, problem or None): rows about nothing, and words that are no library."""
    for prefix, (ours, libraries) in RULES.items():
        dead = [name for name in [prefix, *ours] if not any(path.startswith(name) for path in files)]
        unknown = [name for name in libraries if name not in LIBRARIES]
        yield f"row {prefix} of {TABLE}", " ".join(["names what is not there:", *dead, *unknown]) if dead or unknown else None


# --- the check of the check ------------------------------------------------------------------

LICENCE = "// SPDX-License-Identifier: MIT\n"
BROKEN = {
    "proto/base/a.hpp": '#include "proto/image/b.hpp"',
    "proto/image/b.hpp": '#include "proto/wire/channel.hpp"',
    "proto/wire/channel.hpp": "#include <boost/asio.hpp>",
    "daemon/core/serving/broker.cpp": '#include "proto/wire/channel.hpp"',
    "daemon/core/clock.cpp": "#include <chrono>",
    "daemon/core/now.cpp": "auto now = std::chrono::steady_clock::now();",
    "daemon/alloc/bracket.cpp": "#include <linux/dma-buf.h>",
    "daemon/alloc/x.cpp": "#include <cereal/cereal.hpp>",
    "daemon/net/session.cpp": "#include <vulkan/vulkan.h>",
    "libclient/client.cpp": '#include "daemon/core/serving/broker.cpp"',
    "libclient/io.cpp": "#include <boost/asio.hpp>",
    "libclient/gl.cpp": "#include <EGL/egl.h>",
    "libclient/include/dmabroker/a.h": '#include "proto/base/a.hpp"',
    "tools/examples/e.cpp": '#include "proto/base/a.hpp"',
    "tests/relative.cpp": '#include "helper.hpp"',
    "extra/new.cpp": "",
}
SOUND = {
    "proto/base/c.hpp": "#include <vector>",
    "proto/wire/codec.cpp": '#include "proto/base/c.hpp"\n#include <cereal/cereal.hpp>',
    "daemon/net/listener.cpp": '#include <boost/asio/io_context.hpp>\n#include "proto/base/c.hpp"',
    "libclient/include/dmabroker/dmabroker.h": "/*\n#include <boost/asio.hpp>\n*/",
    "tools/examples/producer.cpp": "#include <dmabroker/dmabroker.h>\n#include <EGL/egl.h>",
}


def check_itself():
    """Every broken file is found, no sound one is, and cycles and licences count."""
    files = {path: LICENCE + text for path, text in {**BROKEN, **SOUND}.items()}
    found = {name for name, problem in check(files) if problem}
    expected = {f"includes of {path}" for path in BROKEN}
    yield "finds every broken include", None if found == expected else f"{sorted(found ^ expected)}"
    loop = {"tests/a.hpp": LICENCE + '#include "tests/b.hpp"', "tests/b.hpp": LICENCE + '#include "tests/a.hpp"'}
    found = [problem for _, problem in check(loop) if problem]
    yield "finds a cycle", None if found == ["tests/a.hpp -> tests/b.hpp -> tests/a.hpp"] else f"found {found}"
    found = [name for name, problem in check({"tests/a.py": "", "tests/run": "#!/bin/sh\n", "a.md": ""}) if problem]
    yield "finds a missing licence", None if len(found) == 2 else f"found {found}"
    found = [name for name, problem in check_table({}) if problem]
    yield "finds rows about nothing", None if len(found) == len(RULES) > 20 else f"found {found}"


def tracked(folder):
    names = subprocess.run(["git", "-C", folder, "ls-files", "-z"], check=True, capture_output=True).stdout
    paths = [folder / name.decode() for name in names.split(b"\0") if name]
    return {str(path.relative_to(folder)): path.read_text(errors="replace") for path in paths
            if path.is_file() and not path.is_symlink()}


def main():
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SOURCE
    passed = failed = 0
    files = tracked(folder)
    for name, problem in [*check_itself(), *check(files), *check_table(files)]:
        passed += not problem
        failed += bool(problem)
        if problem:
            print(f"FAIL {name}: {problem}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
