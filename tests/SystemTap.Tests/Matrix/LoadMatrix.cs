using SystemTap.Language.Diagnostics;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Tests.Matrix;

/// <summary>
/// Scripts for load-only runs: every alias of the library with all its variables, the families of kernel events, and the language's constructs in handlers that read the event. They are only
/// given to the verifier, never attached: a refusal is a defect of the BPF compiler. Points a kernel does not have are left out by <c>?</c>.
/// </summary>
internal static class LoadMatrix
{
    private static readonly PreprocessorEnvironment Environment = new() { Architecture = "x86_64", KernelRelease = "6.12.0", KernelVersion = "6.12.0" };

    /// <summary>Systems of tracepoints whose arguments are all printed.</summary>
    private static readonly string[] Systems = ["sched", "irq", "timer", "block", "kmem", "signal", "task", "raw_syscalls", "power", "workqueue", "writeback", "exceptions", "vmscan", "net", "skb", "sock", "tcp", "udp", "napi", "module", "oom", "rcu", "cgroup", "filelock", "ext4"];

    /// <summary>Names and scripts, the same on every machine.</summary>
    public static IReadOnlyList<(string Name, string Script)> Scripts() => [.. Aliases(), .. Events(), .. Constructs()];

    private static IEnumerable<(string, string)> Aliases()
    {
        var top = Path.Combine(Repository.Root, "tapset");
        var library = new TapsetLibrary(new TapsetOptions { Directories = [top], Environment = Environment, Diagnostics = new DiagnosticBag(), CacheDirectory = null });
        foreach (var file in library.AllFiles().OrderBy(f => f.Source.Path, StringComparer.Ordinal))
        {
            // A few aliases at a time: a script with all of a large file would be slow to verify and say little about which one is wrong.
            var probes = file.Items.OfType<AliasDefinition>().Where(a => !a.Names[0].Components[0].Name.StartsWith('_')).Select(Probe).Distinct().ToList();
            for (var i = 0; i < probes.Count; i += 40)
            {
                var part = probes.Count > 40 ? $" {i / 40}" : "";
                yield return ("alias " + Path.GetRelativePath(top, file.Source.Path) + part, string.Join('\n', probes.Skip(i).Take(40)) + "\nprobe never { }\n");
            }
        }
    }

    private static string Probe(AliasDefinition alias)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        Assigned(alias.Body, names);
        return $"probe {alias.Names[0]} ? {{ println(pp()){string.Concat(names.Select(n => $" println({n})"))} }}";
    }

    private static void Assigned(Statement? statement, SortedSet<string> names)
    {
        switch (statement)
        {
            case BlockStatement block:
                foreach (var child in block.Statements)
                {
                    Assigned(child, names);
                }

                break;
            case IfStatement branch:
                Assigned(branch.Then, names);
                Assigned(branch.Else, names);
                break;
            case ExpressionStatement { Expression: AssignmentExpression { Target: IdentifierExpression { Name: var name } } } when name[0] != '_':
                names.Add(name);
                break;
        }
    }

    private static IEnumerable<(string, string)> Events()
    {
        foreach (var system in Systems)
        {
            yield return ("tracepoints " + system, $"probe kernel.trace(\"{system}:*\") ? {{ println($$name, \" \", $$parms) }}\nprobe never {{ }}\n");
        }

        yield return ("every system call", "probe syscall.* { println(name, argstr) } probe syscall.*.return { println(name, retstr) }");
        yield return ("every system call by key", "global n, t, s probe syscall.* { n[name, execname()]++ t[tid()] = gettimeofday_us() } probe syscall.*.return { if (tid() in t) s[name] <<< gettimeofday_us() - t[tid()] delete t[tid()] }");
        yield return ("argument texts kept until return", "global a probe syscall.* { a[tid()] = argstr } probe syscall.*.return { println(name, a[tid()]) delete a[tid()] }");
        yield return ("nd_syscall and tp_syscall", "probe nd_syscall.* { println(name, argstr) } probe tp_syscall.read.return, tp_syscall.write.return { println(name, retstr) }");
        yield return ("every call of any kind", "global n probe syscall_any { n[name]++ } probe syscall_any.return { n[name]++ }");
        yield return ("processes", "probe process.begin { println(pid(), execname()) } probe process.end { println(pid()) } probe process.thread.begin, process.thread.end { println(tid()) } probe process.syscall { println($syscall, $arg1) } probe process.syscall.return { println($return) }");
        yield return ("timers with a context", "global n probe timer.profile { n[execname(), user_mode()] <<< 1 }");
        yield return ("perf events", "global n probe perf.sw.cpu_clock!, perf.type(1).config(0).sample(1000000) { n[pid()]++ }");
    }

    // Each in a handler whose inputs the verifier does not know.
    private static IEnumerable<(string, string)> Constructs()
    {
        const string Head = "probe kernel.trace(\"sched_switch\") { x = $next->pid y = $prev->prio s = kernel_string($next->comm) t = execname() ";
        (string Name, string Globals, string Body)[] all =
        [
            ("arithmetic", "global g", "g += x * y + x / (y + 1) % 7 - (x << y) + (x >> 3) + (x >>> y) ^ ~x | -y & !x println(g)"),
            ("strings", "global g", "g = s . \":\" . t . sprint(x) if (g == t || s < t) println(strlen(g), substr(g, x, y), strpos(g, t))"),
            ("arrays", "global a, b, c", "a[x]++ b[s, x] = y c[t] .= s if ([s, x] in b) println(a[x], b[s, x], c[t]) delete a[x] delete b"),
            ("statistics", "global a, b", "a <<< x b[s] <<< y println(@count(a), @sum(a), @min(a), @max(a), @avg(a), @count(b[s])) print(@hist_log(a)) print(@hist_linear(b[s], 0, 100, 10))"),
            ("variance", "global a", "a <<< x println(@variance(a), @count(a))"),
            ("nested loops", "", "for (i = 0; i < x; i++) { while (j < y) { j++ if (j == 5) break } if (i > 9) continue println(i, j) }"),
            ("try and catch", "", "try { println(10 / x) error(s) } catch (e) { try { println(y % x) } catch (f) { println(e . f) } }"),
            ("functions", "function f(p, q:string) { if (p > 3) return strlen(q) return f2(p) } function f2(p) { try { return 1 / p } catch { return 0 } }", "println(f(x, s) + f(y, t))"),
            ("overloads", "function f(p) { if (p > 3) next return 1 } function f(p) { return 2 }", "println(f(x), f(y))"),
            ("foreach", "global a, b", "a[x, s] = y b[t] <<< x foreach ([k, l-] in a limit 5) println(k, l) foreach (q in b @sum-) println(q)"),
            ("slices", "global a", "a[x, s] = y if ([*, s] in a) delete a[*, s] foreach ([k, l] in a[x, *]) println(l)"),
            ("formats", "", "printf(\"%d %5d %-8x %#o %c %s %.3s %*d %u %p\\n\", x, y, x, y, x & 63, s, t, y & 15, x, y, x) println(sprintf(\"%05d %s|%10s\", x, s, t) == t)"),
            ("pretty printing", "", "println($$vars, $next$, $prev->se$)"),
            ("wrapping arrays", "global a%[16], b%[8]", "a[x] = y b[s] <<< x println(a[y])"),
            ("long strings", "global g", "g = s . s . s . s for (i = 0; i < 5; i++) g .= g println(strlen(g))"),
            ("lock over two globals", "global a, b, c", "a = b + x b = a - y c[a] = b if (c[x] > a) { a = 0 b = 0 }"),
            ("stop", "global n", "if (n++ > 1000000) exit() if (x == y) next n = 0"),
        ];
        foreach (var (name, globals, body) in all)
        {
            yield return ("construct " + name, $"{globals}\n{Head}\n{body} }}\n");
        }

        yield return ("construct recursion", "function fact(n) { if (n < 2) return 1 return n * fact(n - 1) }\n" + Head + "println(fact(x & 7)) }\n");
        yield return ("construct regex", Head + "if (s =~ \"^kw(o|x)rker/[0-9]+\") println(matched(0), ngroups()) println(t !~ \"stap\") }\n");
        yield return ("construct text functions", Head + "println(str_replace(s, \"k\", t) == t, tokenize(s, \"/\") == t, strtol(s, 16), text_strn(s, 4, 1) == t, isinstr(s, t), stringat(s, 0)) }\n");
    }
}
