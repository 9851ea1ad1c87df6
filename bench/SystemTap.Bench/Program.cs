// Compares stap with bpftrace on this machine, in one run, and prints one table. See ../README.md for what each row means.
using System.Globalization;
using SystemTap.Bench;

if (args.Length == 0)
{
    Console.Error.WriteLine("usage: SystemTap.Bench ROOT [--quick] [--rounds N] [--stap PATH] [--only start,live,event,array,user,size] (bench/run does it all)");
    return 1;
}

var (root, stap, quick, rounds, only) = (args[0], Path.Combine(args[0], "out/stap"), false, 0, "start,live,event,array,user,size");
for (var i = 1; i < args.Length; i++)
{
    switch (args[i])
    {
        case "--quick": quick = true; break;
        case "--rounds" when i + 1 < args.Length && int.TryParse(args[i + 1], out var n) && n is > 0 and < 1000: rounds = n; i++; break;
        case "--stap" when i + 1 < args.Length: stap = args[++i]; break;
        case "--only" when i + 1 < args.Length: only = args[++i]; break;
        default:
            Console.Error.WriteLine($"ERROR: '{args[i]}' is not an option of the bench, or its value is missing; use --quick, --rounds N, --stap PATH, --only start,live,event,array,user,size");
            return 1;
    }
}

try
{
    var bench = new Bench(root, stap, quick, rounds > 0 ? rounds : quick ? 2 : 5);
    var cpu = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim() ?? "unknown CPU";
    Console.WriteLine($"Linux {File.ReadAllText("/proc/sys/kernel/osrelease").Trim()}, {Environment.ProcessorCount} x {cpu}, load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
    Console.WriteLine($"stap: {bench.Stap.Version()}; bpftrace: {bench.Bpftrace.Version()}");
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{bench.Rounds} rounds, both tools in turn; ratio: bpftrace's number divided by ours\n"));
    bench.Table.Head();
    foreach (var (name, measure) in new (string, Action<Bench>)[] { ("start", StartUp.Measure), ("live", LiveTime.Measure), ("event", EventCost.Measure), ("array", SortedPrint.Measure), ("user", UserProbes.Measure), ("size", Sizes.Measure) })
    {
        if (only.Split(',').Contains(name))
        {
            measure(bench);
        }
    }

    bench.Finish();
    return 0;
}
catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception or IOException or Linux.Bpf.BpfException)
{
    Console.Error.WriteLine("ERROR: the bench could not go on: " + e.Message);
    return 1;
}
