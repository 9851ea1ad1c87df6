using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Tests.Bpf;

/// <summary>Loads a plan into the running kernel and looks at what its programs do.</summary>
internal sealed class PlanRunner : IDisposable
{
    private static readonly Lazy<Target> LiveTarget = new(Target.Live);
    private readonly List<BpfMap> _maps = [];
    private readonly List<BpfProgram> _programs = [];
    private readonly List<IDisposable> _links = [];
    private readonly MappedMemory _data;
    private readonly RingBuffer _ring;

    public PlanRunner(LoweredProgram program, BpfOptions? options = null)
    {
        Plan = BpfCompiler.Compile(program, LiveTarget.Value, options ?? new BpfOptions { RingBytes = 1 << 16 });
        foreach (var m in Plan.Maps)
        {
            var map = BpfMap.Create(new MapSpec(m.Name, (MapType)m.Type, m.KeySize, m.ValueSize, m.MaxEntries, (MapFlags)m.Flags));
            _maps.Add(map);
            if (m.Contents is { } contents)
            {
                for (var i = 0; i < contents.Length / m.ValueSize; i++)
                {
                    var one = contents.AsSpan(i * m.ValueSize, m.ValueSize);
                    var value = new byte[map.ValueBytes];
                    for (var at = 0; at < value.Length; at += map.IsPerCpu ? PerCpu.Stride(m.ValueSize) : m.ValueSize)
                    {
                        one.CopyTo(value.AsSpan(at));
                    }

                    map.Update(BpfMap.Bytes((uint)i), value);
                }
            }
        }

        foreach (var m in Plan.Maps)
        {
            if (m.IsConstant)
            {
                _maps[m.Id].Freeze();
            }
        }

        foreach (var p in Plan.Programs)
        {
            var spec = new ProgramSpec(p.Name, (ProgramType)p.ProgramType, p.Code)
            {
                ExpectedAttachType = (AttachType)p.ExpectedAttachType,
                AttachBtfId = p.AttachBtfId,
                ResolveMap = id => _maps[(int)id],
                Sources = [.. Plan.Sources.Select(s => new SourceFile(s.Path, s.Content))],
            };
            try
            {
                _programs.Add(BpfProgram.Load(spec));
            }
            catch (VerifierException e)
            {
                var log = e.Log;
                throw new InvalidOperationException($"{e.Message}\n{(log.Length > 6000 ? log[^6000..] : log)}");
            }
        }

        _data = _maps[Plan.DataMap].Map();
        _ring = new RingBuffer(_maps[Plan.RingMap]);
        Word(ControlBlock.State) = 1;
    }

    public BpfPlan Plan { get; }

    public IReadOnlyList<BpfProgram> Programs => _programs;

    public IReadOnlyList<BpfMap> Maps => _maps;

    public ref long Word(int offset) => ref _data.Word(offset);

    public void AttachAll()
    {
        for (var i = 0; i < _programs.Count; i++)
        {
            if (Plan.Programs[i].Attach is AttachPlan.RawTracepoint t)
            {
                _links.Add(Plan.Programs[i].AttachBtfId != 0 ? RawTracepoint.AttachTyped(_programs[i]) : RawTracepoint.Attach(_programs[i], t.Tracepoint));
            }
            else if (Plan.Programs[i].Attach is AttachPlan.TailCall c)
            {
                _maps[c.MapId].SetFd((uint)c.Index, _programs[i].Fd);
            }
        }
    }

    public void Detach()
    {
        foreach (var link in _links)
        {
            link.Dispose();
        }

        _links.Clear();
    }

    /// <summary>Runs a raw tracepoint program with arguments.</summary>
    public void Run(int program = 0, params ReadOnlySpan<long> arguments)
    {
        Span<long> context = stackalloc long[12];
        arguments.CopyTo(context);
        _programs[program].TestRun(new TestRunInput { Context = MemoryMarshal.AsBytes(context) });
    }

    /// <summary>Runs program 0 once for each argument, always on CPU 0.</summary>
    public void RunOnOneCpu(params long[] arguments)
    {
        foreach (var a in arguments)
        {
            _programs[0].TestRun(new TestRunInput { Context = BpfMap.Bytes(a), Cpu = 0 });
        }
    }

    public void SetText(Global g, string text)
    {
        var s = (GlobalStorage.Scalar)Plan.Globals[g.Index];
        var bytes = _data.Span.Slice(s.Offset, s.Capacity);
        bytes.Clear();
        Encoding.Latin1.GetBytes(text, bytes);
    }

    public long Long(Global g) => Word(((GlobalStorage.Scalar)Plan.Globals[g.Index]).Offset);

    public string Text(Global g)
    {
        var s = (GlobalStorage.Scalar)Plan.Globals[g.Index];
        return Cut(_data.Span.Slice(s.Offset, s.Capacity));
    }

    public long? Element(Global g, params object[] key)
    {
        var a = (GlobalStorage.Array)Plan.Globals[g.Index];
        var value = new byte[8 + a.ValueCapacity];
        return _maps[a.MapId].TryLookup(Key(a.Key, key), value) ? BinaryPrimitives.ReadInt64LittleEndian(value.AsSpan(8)) : null;
    }

    public string? TextElement(Global g, params object[] key)
    {
        var a = (GlobalStorage.Array)Plan.Globals[g.Index];
        var value = new byte[8 + a.ValueCapacity];
        return _maps[a.MapId].TryLookup(Key(a.Key, key), value) ? Cut(value.AsSpan(8)) : null;
    }

    /// <summary>Sum over CPUs of a word of a statistics block.</summary>
    public long StatSum(Global g, int offset, params object[] key)
    {
        var total = 0L;
        foreach (var block in Blocks(g, key))
        {
            total += BinaryPrimitives.ReadInt64LittleEndian(block.AsSpan(offset));
        }

        return total;
    }

    public IEnumerable<byte[]> Blocks(Global g, params object[] key)
    {
        var (map, layout, at, bytes) = Plan.Globals[g.Index] switch
        {
            GlobalStorage.ScalarStatistics s => (_maps[s.MapId], s.Layout, 0, new byte[4]),
            GlobalStorage.StatisticsArray a => (_maps[a.MapId], a.Layout, 8, Key(a.Key, key)),
            _ => throw new InvalidOperationException(),
        };
        var values = new byte[map.ValueBytes];
        if (!map.TryLookup(bytes, values))
        {
            yield break;
        }

        for (var cpu = 0; cpu * PerCpu.Stride(map.Spec.ValueSize) < values.Length; cpu++)
        {
            yield return values.AsSpan(cpu * PerCpu.Stride(map.Spec.ValueSize) + at, layout.Size).ToArray();
        }
    }

    public StatLayout Layout(Global g) => Plan.Globals[g.Index] switch
    {
        GlobalStorage.ScalarStatistics s => s.Layout,
        GlobalStorage.StatisticsArray a => a.Layout,
        _ => throw new InvalidOperationException(),
    };

    /// <summary>Records so far: kind, site, probe, and values (long or string).</summary>
    public List<(int Kind, int Site, int Probe, object[] Values)> Records()
    {
        var collector = new Collector { Plan = Plan };
        _ring.Drain(ref collector);
        return collector.Records;
    }

    private struct Collector() : IRingHandler
    {
        public required BpfPlan Plan;
        public List<(int, int, int, object[])> Records = [];

        public readonly bool OnRecord(ReadOnlySpan<byte> r)
        {
            var head = BinaryPrimitives.ReadUInt32LittleEndian(r);
            var (kind, site) = ((int)(head >> 24), (int)(head & 0xffffff));
            var types = kind switch
            {
                RecordKind.Print => Plan.PrintSites[site].Leaves,
                RecordKind.Error => [ScriptType.Long, ScriptType.Long, ScriptType.String],
                RecordKind.Warn or RecordKind.System => [ScriptType.String],
                _ => [],
            };
            var values = new List<object>();
            var at = 8;
            foreach (var t in types)
            {
                if (t == ScriptType.Long)
                {
                    values.Add(BinaryPrimitives.ReadInt64LittleEndian(r[at..]));
                    at += 8;
                }
                else
                {
                    var n = BinaryPrimitives.ReadInt32LittleEndian(r[at..]);
                    values.Add(Encoding.Latin1.GetString(r.Slice(at + 8, n)));
                    at += 8 + ((n + 7) & ~7);
                }
            }

            Records.Add((kind, site, BinaryPrimitives.ReadInt32LittleEndian(r[4..]), [.. values]));
            return true;
        }
    }

    private static byte[] Key(KeyLayout layout, object[] key)
    {
        var bytes = new byte[layout.Size];
        var at = 0;
        for (var i = 0; i < key.Length; i++)
        {
            if (key[i] is string s)
            {
                Encoding.Latin1.GetBytes(s, bytes.AsSpan(at));
            }
            else
            {
                BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at), Convert.ToInt64(key[i]));
            }

            at += layout.Capacities[i];
        }

        return bytes;
    }

    private static string Cut(ReadOnlySpan<byte> bytes) => Encoding.Latin1.GetString(bytes[..bytes.IndexOf((byte)0)]);

    public void Dispose()
    {
        Detach();
        _ring.Dispose();
        _data.Dispose();
        _programs.ForEach(p => p.Dispose());
        _maps.ForEach(m => m.Dispose());
    }
}
