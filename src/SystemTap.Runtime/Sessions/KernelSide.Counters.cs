using Linux.Bpf;
using SystemTap.Bpf.Plan;

namespace SystemTap.Runtime.Sessions;

// Counters of @perf: each counts on each CPU for all threads and never samples. Programs read the one of their own CPU through the map.

public sealed partial class KernelSide
{
    private readonly List<PerfEvent> _counters = [];

    private void StartCounters(BpfMap map)
    {
        var counters = _plan.Program.Counters.ToList();
        var cpus = map.Spec.MaxEntries / counters.Count;
        for (var i = 0; i < counters.Count; i++)
        {
            var counter = counters[i];
            foreach (var cpu in CpuList.Online())
            {
                var counting = PerfEvent.Open(new PerfEventSpec
                {
                    Name = $"counter \"{counter.CounterName}\"",
                    Type = counter.Type,
                    Config = counter.Config,
                    Pid = -1,
                    Cpu = cpu,
                });
                _counters.Add(counting);
                counting.Enable();
                map.SetFd((uint)((i * cpus) + cpu), counting.Fd);
            }
        }
    }

    private void StopCounters()
    {
        foreach (var counter in _counters)
        {
            counter.Dispose();
        }

        _counters.Clear();
    }
}
