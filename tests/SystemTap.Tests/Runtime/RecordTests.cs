using System.Buffers.Binary;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Output;
using SystemTap.Runtime.Sessions;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Runtime;

/// <summary>Records as kernel programs make them, read into output.</summary>
public sealed class RecordTests : IDisposable
{
    private static readonly SourceSpan Here = new(new SourceText("s.stp", "printf(x)"), 0, 6);

    // printf("%-6s %d\n", leaf1, leaf0), and println(strlen(leaf0)) whose argument is evaluated here.
    private static readonly PrintSite[] Sites =
    [
        new(0,
            [new(FormatConversion.String, "") { Flag = FormatFlag.Left, WidthKind = FormatSize.Fixed, Width = 6 }, new(FormatConversion.Literal, " "), new(FormatConversion.Signed, ""), new(FormatConversion.Literal, "\n")],
            [new LeafExpr(1, ScriptType.String, Here), new LeafExpr(0, ScriptType.Long, Here)], [ScriptType.Long, ScriptType.String], Here),
        new(1, [new(FormatConversion.Signed, ""), new(FormatConversion.Literal, "\n")],
            [new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.StringLength), [new LeafExpr(0, ScriptType.String, Here)], Here)], [ScriptType.String], Here),
    ];

    private readonly string _path = Path.GetTempFileName();
    private readonly List<string> _messages = [];
    private readonly Session _session;
    private readonly OutputStream _output;
    private readonly RecordReader _reader;

    public RecordTests()
    {
        var plan = StoreTests.Plan(Sites, [new ErrorSite(0, "read fault at {0} ({1}) {s}", Here)]);
        _session = new Session(plan, new SessionOptions { OutputFile = _path, Diagnostics = _messages.Add });
        _output = new OutputStream(_path);
        _reader = new RecordReader(plan, _output, new HostEvaluator(plan.Program, new MemoryGlobalStore(plan.Program.Globals), new NoServices()), _session);
    }

    public void Dispose()
    {
        _session.Dispose();
        _output.Dispose();
        File.Delete(_path);
    }

    private static byte[] Record(int kind, int site, params object[] values)
    {
        var bytes = new List<byte>();
        bytes.AddRange(BitConverter.GetBytes(((uint)kind << 24) | (uint)site));
        bytes.AddRange(BitConverter.GetBytes(0));
        foreach (var value in values)
        {
            if (value is string text)
            {
                bytes.AddRange(BitConverter.GetBytes((long)text.Length));
                bytes.AddRange(System.Text.Encoding.Latin1.GetBytes(text.PadRight((text.Length + 7) & ~7, '\0')));
            }
            else
            {
                bytes.AddRange(BitConverter.GetBytes(Convert.ToInt64(value)));
            }
        }

        return [.. bytes];
    }

    [Fact]
    public void Prints_are_formatted_from_the_record()
    {
        _reader.Read(Record(RecordKind.Print, 0, 42, "abc"));
        _reader.Read(Record(RecordKind.Print, 0, -1, "exactly8"));
        _reader.Read(Record(RecordKind.Print, 1, "12345"));
        Assert.Equal("abc    42\nexactly8 -1\n5\n", _output.Buffer.ToString());
        Assert.Equal(0, _reader.Malformed);
    }

    [Fact]
    public void Errors_and_warnings_reach_people()
    {
        _reader.Read(Record(RecordKind.Error, 0, 16, 0, "x"));
        _reader.Read(Record(RecordKind.Warn, 0, "careful"));
        Assert.Equal(["ERROR: read fault at 0x0000000000000010 (16) x near identifier 'printf' at s.stp:1:1 in probe ?", "WARNING: careful"], _messages);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(12)]
    [InlineData(20)]
    [InlineData(30)]
    public void Cut_records_are_counted_and_do_no_harm(int length)
    {
        _reader.Read(Record(RecordKind.Print, 0, 42, "abcdefghijkl").AsSpan(0, length));
        _reader.Read(Record(RecordKind.Print, 77, 42));
        Assert.Equal(2, _reader.Malformed);
        Assert.Equal(0, _output.Buffer.Length);
    }

    [Fact]
    public void Reading_allocates_nothing()
    {
        var record = Record(RecordKind.Print, 0, 42, "abcdefghijkl");
        void Many()
        {
            for (var i = 0; i < 10_000; i++)
            {
                _reader.Read(record);
            }
        }

        Many();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Many();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
