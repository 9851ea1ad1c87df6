using System.Diagnostics;
using System.Globalization;

namespace SystemTap.Bench;

/// <summary>
/// Functions of programs: what a probe adds to a call of an empty function, how long a thousand functions take to attach and detach, how long a listing takes.
/// A call's price is the program's own measurement of its loop, probed minus untraced.
/// </summary>
internal static class UserProbes
{
    private const string Source = """
        #include <stdio.h>
        #include <stdlib.h>
        #include <time.h>
        __attribute__((noinline, noclone)) int target(int x) { asm volatile("" : : "g"(x) : "memory"); return x; }
        int main(int argc, char **argv)
        {
            long n = atol(argv[1]);
            double best = 1e30;
            for (int round = 0; round < 5; round++) {
                struct timespec a, b;
                clock_gettime(CLOCK_MONOTONIC, &a);
                for (long i = 0; i < n; i++) target(i);
                clock_gettime(CLOCK_MONOTONIC, &b);
                double ns = ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n;
                if (ns < best) best = ns;
            }
            printf("%.1f\n", best);
            return 0;
        }
        """;

    private const int Many = 1000;

    public static void Measure(Bench bench)
    {
        if (Tool.Find("gcc") is null)
        {
            bench.Note("user-space probes need gcc to make their program");
            return;
        }

        // bpftrace refuses more than 512 programs otherwise.
        Environment.SetEnvironmentVariable("BPFTRACE_MAX_BPF_PROGS", "4096");
        Environment.SetEnvironmentVariable("BPFTRACE_MAX_PROBES", "4096");
        var folder = Directory.CreateTempSubdirectory("stap-bench-").FullName;
        try
        {
            var loop = Compile(folder, "loop", Source);
            var big = Compile(folder, "big", string.Concat(Enumerable.Range(0, Many).Select(i => $"__attribute__((noinline)) int fn_{i}(int x) {{ asm volatile(\"\"); return x + {i}; }}\n"))
                + "int main(void) { volatile int x = 0; for (;;) { " + string.Concat(Enumerable.Range(0, Many).Select(i => $"x += fn_{i}(x);")) + " } }");
            bench.Table.Section("functions of a program");
            Cost(bench, loop, "count at entry", $"global n probe process(\"{loop}\").function(\"target\") {{ n++ }} probe end {{ println(n) }}", $"uprobe:{loop}:target {{ @++; }}");
            Cost(bench, loop, "entry and return, latency histogram",
                $"global t, h probe process(\"{loop}\").function(\"target\").call {{ t[tid()] = ktime_get_ns() }} probe process(\"{loop}\").function(\"target\").return {{ if (tid() in t) {{ h <<< ktime_get_ns() - t[tid()]; delete t[tid()] }} }} probe end {{ print(@hist_log(h)) }}",
                $"uprobe:{loop}:target {{ @t[tid] = nsecs; }} uretprobe:{loop}:target /@t[tid]/ {{ @ = hist(nsecs - @t[tid]); delete(@t[tid]); }}");
            Cost(bench, loop, "count by user stack", $"global n probe process(\"{loop}\").function(\"target\") {{ n[ubacktrace()]++ }} probe end {{ foreach (s in n) println(n[s]) }}", $"uprobe:{loop}:target {{ @[ustack] = count(); }}");
            Attach(bench, big);
            LookUp(bench, folder);
            Listing(bench);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Compile(string folder, string name, string source)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllText(path + ".c", source);
        var (_, error, status) = Tool.Run("gcc", ["-O2", "-g", "-w", "-o", path, path + ".c"]);
        return status == 0 ? path : throw new InvalidOperationException("gcc failed: " + error);
    }

    private static void Cost(Bench bench, string program, string what, string stap, string bpftrace)
    {
        Sample ours = new(), theirs = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            One(bench.Stap, stap, ours);
            One(bench.Bpftrace, bpftrace, theirs);
        }

        bench.Table.Row(what + ": added to a call", ours, theirs, "ns");

        void One(Tool tool, string script, Sample sample)
        {
            if (!tool.Here)
            {
                return;
            }

            var untraced = Loop(program, 2_000_000);
            using var session = tool.Start(script);
            if (!bench.WaitUntilLive(session, () => Loop(program, 1000)))
            {
                bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
                return;
            }

            sample.Add(Loop(program, 100_000) - untraced);
            session.Interrupt();
        }
    }

    private static double Loop(string program, int calls) =>
        double.Parse(Tool.Run(program, [calls.ToString(CultureInfo.InvariantCulture)]).Out, CultureInfo.InvariantCulture);

    /// <summary>From exec to the end of a session that attaches to a thousand functions and stops at once.</summary>
    private static void Attach(Bench bench, string program)
    {
        Sample ours = new(), one = new(), theirs = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            one.Add(bench.Stap.TimeToEnd($"global n probe process(\"{program}\").function(\"fn_1\") {{ n++ }} probe timer.ms(1) {{ exit() }}"));
            ours.Add(bench.Stap.TimeToEnd($"global n probe process(\"{program}\").function(\"fn_*\").call {{ n[ppfunc()]++ }} probe timer.ms(1) {{ exit() }} probe end {{ delete n }}"));
            if (bench.Bpftrace.Here && round < 2)
            {
                theirs.Add(bench.Bpftrace.TimeToEnd($"uprobe:{program}:fn_* {{ @[probe] = count(); }} interval:ms:1 {{ exit(); }} END {{ clear(@); }}"));
            }
        }

        bench.Table.Row("one function: start, attach, end", one, new Sample(), "ms");
        bench.Table.Row($"{Many} functions: start, attach, end", ours, theirs, "ms");
    }

    /// <summary>From exec to the end of a session that needs a member of a parameter's type, by the debug information of a large program.</summary>
    private static void LookUp(Bench bench, string folder)
    {
        const int units = 16, functions = 2500;
        var program = Path.Combine(folder, "large");
        for (var unit = 0; unit < units; unit++)
        {
            var text = string.Concat(Enumerable.Range(0, functions).Select(i => $"struct s{unit}_{i} {{ int a, b; struct s{unit}_{i} *next; }}; int u{unit}_f{i}(struct s{unit}_{i} *p, int n) {{ int local = n; return p->b + local; }}\n"));
            File.WriteAllText($"{program}{unit}.c", text + (unit == 0 ? "int main(void) { for (;;) ; }\n" : ""));
        }

        var (_, error, status) = Tool.Run("gcc", ["-O0", "-g", "-w", "-o", program, .. Enumerable.Range(0, units).Select(u => $"{program}{u}.c")]);
        if (status != 0)
        {
            throw new InvalidOperationException("gcc failed: " + error);
        }

        Sample ours = new(), theirs = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            ours.Add(bench.Stap.TimeToEnd($"global n probe process(\"{program}\").function(\"u9_f1234\") {{ n += $p->b }} probe timer.ms(1) {{ exit() }}"));
            if (bench.Bpftrace.Here)
            {
                theirs.Add(bench.Bpftrace.TimeToEnd($"uprobe:{program}:u9_f1234 {{ @ = sum(args->p->b); }} interval:ms:1 {{ exit(); }}"));
            }
        }

        bench.Table.Row($"a parameter's member, {units * functions} functions with types", ours, theirs, "ms");
    }

    private static void Listing(Bench bench)
    {
        const string program = "/usr/bin/python3";
        if (!File.Exists(program))
        {
            return;
        }

        Sample ours = new(), theirs = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            ours.Add(Time(bench.Stap.Path!, ["-L", $"process(\"{program}\").function(\"*\")"]));
            if (bench.Bpftrace.Here)
            {
                theirs.Add(Time(bench.Bpftrace.Path!, ["-l", $"uprobe:{program}:*"]));
            }
        }

        bench.Table.Row("list the functions of python3", ours, theirs, "ms");

        static double Time(string path, string[] arguments)
        {
            var began = Stopwatch.GetTimestamp();
            Tool.Run(path, arguments);
            return Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        }
    }
}
