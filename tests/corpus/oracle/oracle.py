#!/usr/bin/env python3
"""Compares tests/corpus/run with Debian's SystemTap, which knows nothing of us.

usage: oracle.py [--only PART] [--packed | --reject] [--keep FOLDER] [--list]

SystemTap translates and compiles the cases on this machine for Debian 12's kernel; its own staprun runs the modules in a virtual machine of that kernel
(tests/vm/run-vm.sh 6.1). What a case printed there is compared with the '--- out' that stands in the corpus; the last lines say how many agree, differ,
and could not be asked, and verified.txt beside this file is rewritten with the names of those that agree.

Only scripts that need nothing but begin/end/timer probes can be asked. Cases with 'probe BODY' and nothing else are packed, many to a module (a build takes
seconds): their globals, functions, macros and aliases get a suffix '_k7', their probes a place in the order of all begin probes, and the suffix is taken out
of what was printed. All others get a module of their own. A case that SystemTap refuses to elaborate is reported as 'refused' with its message; where
the reference says that 4.8 is too old for a feature, exceptions.txt names the case and says so.

Needs packages: systemtap, linux-headers of the kernel in out/vm/6.1, and what tests/vm/run-vm.sh needs.
Debian's 4.8 no longer compiles against the newest 6.1 kernels (task_work_cancel was renamed); --keep's folder 'rt' holds a copy of its run-time with that one name changed.
"""
import argparse, base64, hashlib, os, re, shutil, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

here = os.path.dirname(os.path.realpath(__file__))
root = os.path.dirname(os.path.dirname(os.path.dirname(here)))
top = os.path.join(root, "tests", "corpus", "run")
BODY = "probe BODY {"
BATCH = 40

class Case:
    def __init__(self, name): self.name, self.script, self.out, self.err = name, "", None, []; self.opts, self.words, self.status, self.match, self.engine, self.needs = [], [], 0, False, None, ""

def load():
    for folder, _, files in sorted(os.walk(top)):
        for f in sorted(files):
            if not f.endswith(".cases"): continue
            path = os.path.join(folder, f)
            name = os.path.relpath(path, top)[:-6]
            case, section, part = None, "script", []
            text = open(path, encoding="latin-1").read()
            for line in (text.rstrip("\n") + "\n===").split("\n"):
                if line.startswith("===") or line in ("--- out", "--- err"):
                    if case:
                        body = "".join(l + "\n" for l in part)
                        if section == "script": case.script = body
                        elif section == "out": case.out = body
                        else: case.err += [l for l in body.split("\n") if l]
                    part = []
                    if line.startswith("==="):
                        if case: yield case
                        case, section = Case(name + "#" + line[3:].strip()), "script"
                    else: section = line[4:]
                elif case and section == "script" and not part and line.startswith("%") and line[1:2] not in ("(", "{"):
                    key, _, value = line.partition(" ")
                    value = value.strip()
                    if key == "%args": case.opts += value.split()
                    elif key == "%arg": case.opts.append(value)
                    elif key == "%words": case.words += value.split()
                    elif key == "%word": case.words.append(value)
                    elif key == "%status": case.status = int(value)
                    elif key == "%match": case.match = True
                    elif key == "%engine": case.engine = value
                    elif key == "%needs": case.needs = value
                else: part.append(line)

token = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|\#[^\n]*|[A-Za-z_$][\w$]*|.', re.S)

def names(script):
    """Names that a packed case may not share with its neighbours."""
    tokens = [t for t in token.findall(script) if not t.isspace() and not t.startswith(("//", "/*")) and not (t.startswith("#") and len(t) > 1)]
    found, i = set(), 0
    while i < len(tokens):
        t = tokens[i]
        if t in ("global", "private") :
            i += 1
            if tokens[i] == "global": i += 1
            if t == "private" and tokens[i] == "function": found.add(tokens[i + 1])
            else:
                while True:
                    found.add(tokens[i]); i += 1
                    depth = 0
                    while i < len(tokens) and not (depth == 0 and (tokens[i] == "," or tokens[i] in ("global", "probe", "function", "private", "@", ";"))) and not (re.match(r"[A-Za-z_]", tokens[i]) and depth == 0):
                        depth += tokens[i] == "["; depth -= tokens[i] == "]"; i += 1
                    if i < len(tokens) and tokens[i] == ",": i += 1
                    else: break
                continue
        elif t == "function": found.add(tokens[i + 1])
        elif t == "define" and tokens[i - 1] == "@": found.add(tokens[i + 1])
        elif t == "probe":
            j = i + 1
            while j < len(tokens) and tokens[j] not in ("{", ","):
                if tokens[j] in ("=", "+=") or (tokens[j] == "+" and tokens[j+1] == "="): found.add(tokens[i + 1]); break
                j += 1
        i += 1
    return found

def packable(c):
    """True when the case is nothing but begin probes."""
    if c.opts or c.words or c.status or c.err or c.engine == "kernel" or c.name.startswith(("exec/", "types/unread", "tapset/context#in begin")): return False
    rest = c.script.replace(BODY, "")
    if names(c.script) & {"begin", "end", "exit"}: return False
    plain = "".join(t for t in token.findall(rest) if not t.startswith(("//", "/*", "#")))
    return not re.search(r"probe\s+(?!begin\s*(\(|\{))", plain) and not re.search(r"argv|ngroups|matched|%\{|abort|exit *\((?! *\))", plain)

def pack(cases):
    """One script of many."""
    text = ""
    for k, c in enumerate(cases, 1):
        mine = names(c.script)
        at = k * 1000
        s = "".join(f"{t}_k{k}" if t in mine else t for t in token.findall(c.script.replace(BODY, f"probe begin({at}) {{")))
        s = re.sub(r"\bexit\s*\(\s*\)", "(0)", s)
        s = re.sub(r"probe begin\s*\{", f"probe begin({at}) {{", s)
        s = re.sub(r"probe begin\((-?\d+)\)", lambda m: m.group(0) if int(m.group(1)) >= 1000 else f"probe begin({at + max(-400, min(400, int(m.group(1))))})", s)
        text += f'probe begin({at - 500}) {{ printf("\\n@@@case {k}\\n") }}\n{s}\n'
    return text + f'probe begin({(len(cases) + 1) * 1000}) {{ printf("\\n@@@case 0\\n") exit() }}\n'

def single(c):
    """The script of one case alone."""
    if BODY in c.script: return c.script.replace(BODY, "probe begin {") + "\nprobe begin(9223372036854775807) { exit() }\n"
    return c.script

def rejected(stap_options, env):
    """Compares the first place that SystemTap and ours (out/stap) blame in the scripts of tests/corpus/reject."""
    global top
    top = os.path.join(root, "tests", "corpus", "reject")
    folder = tempfile.mkdtemp()
    def first(text, path):
        found = re.search(re.escape(path) + r":(\d+:\d+)", text)
        return found.group(1) if found else "no place", next((l for l in text.split("\n") if "error" in l), "").replace(path, "SCRIPT")
    def ask(item):
        n, c = item
        path = os.path.join(folder, f"r{n}.stp")
        open(path, "w", encoding="latin-1").write(c.script)
        opts = c.opts if any(x.startswith("-p") for x in c.opts) else ["-p2", *c.opts]
        if "kernel.trace" in c.script: return c.name, ("not asked: tracepoints take minutes", ""), ("", "")
        theirs = subprocess.run(["stap", *stap_options, *opts, path, *c.words], stdin=subprocess.DEVNULL, capture_output=True, env=env).stderr.decode("latin-1")
        ours = subprocess.run([os.path.join(root, "out/stap"), *opts, path, *c.words], stdin=subprocess.DEVNULL, capture_output=True, env=dict(os.environ, LC_ALL="C")).stderr.decode("latin-1")
        return c.name, first(theirs, path), first(ours, path)
    with ThreadPoolExecutor(2) as pool: answers = list(pool.map(ask, enumerate(load())))
    same = sorted(n for n, a, b in answers if a[0] == b[0] != "no place")
    for n, a, b in answers:
        if n not in same: print(f"{n}\n  SystemTap {a[0]} {a[1]}\n  ours      {b[0]} {b[1]}")
    open(os.path.join(here, "verified-rejected.txt"), "w").write("# Rejected scripts that SystemTap 4.8 blames at the same line and column; written by oracle.py --reject\n" + "".join(n + "\n" for n in same))
    print(f"{len(same)} of {len(answers)} at the same place")

def main():
    arg = argparse.ArgumentParser()
    arg.add_argument("--only", default=""); arg.add_argument("--keep"); arg.add_argument("--list", action="store_true"); arg.add_argument("--built", action="store_true", help="only modules that --keep's folder already holds"); arg.add_argument("--reject", action="store_true", help="compare the places of rejected scripts instead"); arg.add_argument("--jobs", type=int, default=2); arg.add_argument("--packed", action="store_true", help="only cases that can be packed: a few minutes instead of an hour")
    a = arg.parse_args()
    work = a.keep or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    ko = os.path.join(work, "ko"); os.makedirs(ko, exist_ok=True)
    release = open(os.path.join(root, "out/vm/6.1/release")).read().strip()
    rt = os.path.join(work, "rt")
    if not os.path.isdir(rt):
        shutil.copytree("/usr/share/systemtap/runtime", rt)
        p = os.path.join(rt, "stp_task_work.c")
        s = open(p).read()
        open(p, "w").write(re.sub(r"\btask_work_cancel\b", "task_work_cancel_func", s))
    env = dict(os.environ, SYSTEMTAP_NOSIGN="1", SYSTEMTAP_DIR=os.path.join(work, "systemtap"), LC_ALL="C")
    env.pop("SYSTEMTAP_TAPSET", None)

    if a.reject: return rejected(["-R", rt, "-r", release], env)

    def stap(stop, name, path, opts, words):
        r = subprocess.run(["stap", "-R", rt, "-r", release, "-p" + stop, *(["-m", name] if stop == "4" else []), "-DSTP_NO_OVERLOAD", "-B", "KCFLAGS=-Wno-error", "-w", *opts, path, *words],
                           cwd=ko, env=env, capture_output=True, text=True, errors="replace")
        return r.returncode, r.stdout + r.stderr

    cases = [c for c in load() if a.only in c.name]
    excepted = dict(l.rstrip("\n").split(" | ", 1) for l in open(os.path.join(here, "exceptions.txt")) if " | " in l and l[0] != "#")
    able = []
    for c in cases:
        if c.name in excepted: print(f"excepted {c.name}: {excepted[c.name]}"); continue
        if c.engine == "kernel" or c.needs not in ("", "root") or c.out is None or any(o in ("-c", "-x", "-o", "-T", "-G", "-l", "-L", "--runtime=bpf") or o.startswith("-p") for o in c.opts): continue
        text = re.sub(r"probe\s+(begin|end|error|never|oneshot|init|timer|BODY)\b", "", c.script)
        if re.search(r"\bprobe\s+[a-z_]+[.(]", text): continue
        if packable(c) or not a.packed: able.append(c)
    if a.list:
        for c in able: print(("packed " if packable(c) else "alone  ") + c.name)
        return

    refused = {}
    passed = os.path.join(work, "passed"); seen = set(open(passed).read().split()) if os.path.exists(passed) else set()
    def check(c):
        key = hashlib.md5(repr((single(c), c.opts, c.words)).encode()).hexdigest()
        if key in seen: return True
        path = os.path.join(ko, f"c{key}.stp")
        open(path, "w", encoding="latin-1").write(single(c))
        status, text = stap("2", "x", path, c.opts, c.words)
        if status: refused[c.name] = next((l for l in text.split("\n") if "error" in l), text[:200])
        else: open(passed, "a").write(key + "\n")
        os.unlink(path)
        return status == 0
    with ThreadPoolExecutor(a.jobs) as pool: ok = list(pool.map(check, able))
    able = [c for c, good in zip(able, ok) if good]
    for n, why in refused.items(): print(f"excepted {n}: {excepted[n]}" if n in excepted else f"refused {n}: {why}", flush=True)
    packed = [c for c in able if packable(c)]
    groups = [packed[i:i + BATCH] for i in range(0, len(packed), BATCH)] + [[c] for c in able if not packable(c)]

    # Modules are named after what is in them, so that a second run with the same --keep builds only what changed.
    modules = {}
    legacy = {open(os.path.join(ko, f), encoding="latin-1").read(): f[:-4] for f in os.listdir(ko) if f.endswith(".stp") and os.path.exists(os.path.join(ko, f[:-4] + ".ko"))}
    def build(group):
        many = len(group) > 1 or packable(group[0])
        script = pack(group) if many else single(group[0])
        opts, words = ([], []) if many else (group[0].opts, group[0].words)
        name = legacy.get(script) or "o" + hashlib.md5(repr((script, opts, words)).encode()).hexdigest()[:12]
        path = os.path.join(ko, name + ".stp")
        if a.built and not os.path.exists(os.path.join(ko, name + ".ko")): return
        if not os.path.exists(os.path.join(ko, name + ".ko")):
            open(path, "w", encoding="latin-1").write(script)
            status, text = stap("4", name, path, opts, words)
            if status and len(group) > 1:
                half = len(group) // 2
                build(group[:half]); build(group[half:])
                return
            if status:
                print(f"not built {name} ({group[0].name}): {text[-1500:]}", flush=True)
                return
        modules[name] = (group, many)
    with ThreadPoolExecutor(a.jobs) as pool: list(pool.map(build, groups))
    print(f"{len(modules)} modules built", flush=True)

    # What the guest needs: staprun, stapio and their libraries, at their own paths.
    guest = os.path.join(work, "oracle"); shutil.rmtree(guest, ignore_errors=True); os.makedirs(guest + "/fs"); os.makedirs(guest + "/ko")
    stapio = next(p for p in ("/usr/lib/systemtap/stapio", "/usr/libexec/systemtap/stapio", "/usr/lib/x86_64-linux-gnu/systemtap/stapio") if os.path.exists(p))
    for b in ("/usr/bin/staprun", stapio):
        libs = re.findall(r"(/\S+) \(", subprocess.run(["ldd", b], capture_output=True, text=True).stdout)
        for f in [b, *libs]:
            os.makedirs(guest + "/fs" + os.path.dirname(f), exist_ok=True); shutil.copy(f, guest + "/fs" + f)
    for m in modules: shutil.copy(os.path.join(ko, m + ".ko"), guest + "/ko/")
    script = os.path.join(work, "guest.sh")
    open(script, "w").write("cp -r /work/oracle/fs/* /\ncd /work/oracle/ko\nfor m in *.ko; do\n timeout 30 /usr/bin/staprun $m >/tmp/o 2>/tmp/e </dev/null; echo \"@@@module ${m%.ko} $?\"; base64 /tmp/o; echo @@@stderr; base64 /tmp/e\ndone\n")
    vm = subprocess.run([os.path.join(root, "tests/vm/run-vm.sh"), "6.1", script, guest], capture_output=True, text=True, env=dict(os.environ, VM_TIMEOUT="900"))
    open(os.path.join(work, "vm.log"), "w").write(vm.stdout + vm.stderr)

    agree, differ = [], []
    for m in re.finditer(r"@@@module (\S+) (\d+)\n(.*?)@@@stderr\n(.*?)(?=@@@module|@@@ end)", vm.stdout, re.S):
        group, many = modules.pop(m.group(1))
        out, err = (base64.b64decode("".join(x.split())).decode("latin-1") for x in (m.group(3), m.group(4)))
        err = err.replace(os.path.join(ko, m.group(1) + ".stp"), "SCRIPT")
        parts = {0: out} if not many else {int(k): t for k, t in re.findall(r"\n@@@case (\d+)\n(.*?)(?=\n@@@case|\Z)", out, re.S)}
        for k, c in enumerate(group, 1):
            got = re.sub(rf"_k{k}\b", "", parts.get(k, "(nothing: the module stopped before)") if many else parts[0])
            same = got == c.out if not c.match else bool(re.fullmatch(".*".join(map(re.escape, c.out.split("*"))), got, re.S))
            lacks = [e for e in c.err if e not in err.replace(f"_k{k}", "")] if not many else []
            status = 0 if many else int(m.group(2))
            if same and not lacks and status == c.status: agree.append(c.name)
            elif c.name in excepted: print(f"excepted {c.name}: {excepted[c.name]}")
            else: differ.append(c.name); print(f"=== differs {c.name} (status {status}, corpus {c.status})\n--- corpus\n{c.out}--- oracle\n{got}" + ("" if many or not err else f"--- oracle's stderr\n{err}") + "".join(f"--- lacks {l}\n" for l in lacks))
    for m, (group, _) in modules.items(): print(f"no answer from {m}: {', '.join(c.name for c in group)}")
    # A run over part of the corpus changes what it knows about that part only.
    file = os.path.join(here, "verified.txt")
    known = {l.strip() for l in open(file) if l[0] != "#"} if os.path.exists(file) else set()
    known = ((known & {c.name for c in load()}) | set(agree)) - set(differ)
    open(file, "w").write("# Cases whose expectation SystemTap 4.8's module printed, to the byte; written by oracle.py\n" + "".join(n + "\n" for n in sorted(known) if n))
    print(f"{len(agree)} agree, {len(differ)} differ, {len(refused)} refused by SystemTap 4.8, {len(cases) - len(able) - len(refused)} of {len(cases)} not asked")

main()
