using CsCheck;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

/// <summary>Damaged BTF must end in an answer or a TargetException, soon: never in another exception or an endless loop.</summary>
public class BtfFuzzTests
{
    private static void AskEverything(Btf btf)
    {
        var names = new List<string>();
        for (var id = 0; id < btf.EndId; id++)
        {
            var type = btf.Type(id);
            Ask(() => type.Declaration);
            Ask(() => type.CompactDeclaration);
            Ask(() => type.Size);
            Ask(() => type.Length);
            Ask(() => type.Stripped);
            Ask(() => type.IsSigned || type.IsBool || type.IsChar || type.IsInteger || type.IsStructOrUnion);
            Ask(() => type.IntegerBits);
            Ask(() => type.IsVariadic);
            Ask(() => type.ReturnType);
            Ask(() => type.FindMember("as_int"));
            Ask(() => type.FindMember("no such member"));
            Ask(() => { foreach (var m in type.Members) { _ = m.Name; _ = m.Type; _ = m.BitFieldLoad; } return 0; });
            Ask(() => { foreach (var e in type.Enumerators) { _ = e.Name; _ = e.Value; } return 0; });
            Ask(() => { foreach (var p in type.Parameters) { _ = p.Name; _ = p.Type; } return 0; });
            Ask(() => { names.Add(type.Name); return 0; });
            Ask(() => btf.Find(type.Kind, type.Name));
        }
        foreach (var name in new[] { "outer", "describe", "RED", "" })
        {
            Ask(() => btf.FindFunction(name));
            Ask(() => btf.Find(BtfKind.Struct, name));
            Ask(() => btf.FindEnumerator(name));
        }
        Ask(() => Traceiter.Names(btf));
        Ask(() => Traceiter.Find(btf, "demo") is { } t ? Traceiter.Parameters(t) : []);

        static void Ask<T>(Func<T> question)
        {
            try { _ = question(); }
            catch (TargetException e) { Assert.Contains("malformed", e.Message); }
        }
    }

    private int _opened;

    private void Try(byte[] bytes)
    {
        Btf btf;
        try { btf = Btf.Parse(bytes); }
        catch (TargetException) { return; }
        _opened++;
        AskEverything(btf);
    }

    [Fact]
    public void Flipped_bytes()
    {
        var good = BtfBuilder.Sample();
        Gen.Select(Gen.Int[0, good.Length - 1], Gen.Byte).Array[1, 12].Each(3000, changes =>
        {
            var bytes = (byte[])good.Clone();
            foreach (var (at, value) in changes)
                bytes[at] = value;
            Try(bytes);
        });
        Assert.True(_opened > 500, $"only {_opened} were not refused at once");
    }

    [Fact]
    public void Words_replaced_by_small_numbers_make_cycles()
    {
        var good = BtfBuilder.Sample();
        Gen.Select(Gen.Int[6, good.Length / 4 - 1], Gen.Int[0, 60]).Array[1, 40].Each(3000, changes =>
        {
            var bytes = (byte[])good.Clone();
            foreach (var (word, value) in changes)
                BitConverter.TryWriteBytes(bytes.AsSpan(4 * word), value);
            Try(bytes);
        });
        Assert.True(_opened > 150, $"only {_opened} were not refused at once");
    }

    [Fact]
    public void Cut_anywhere()
    {
        var good = BtfBuilder.Sample();
        for (var length = 0; length <= good.Length; length++)
        {
            Try(good[..length]);
            // with a header that fits the rest, so that the types section itself is cut
            if (length >= 24)
            {
                var bytes = good[..length];
                var strings = Math.Min(length - 24, 8);
                BitConverter.TryWriteBytes(bytes.AsSpan(12), length - 24 - strings);
                BitConverter.TryWriteBytes(bytes.AsSpan(16), length - 24 - strings);
                BitConverter.TryWriteBytes(bytes.AsSpan(20), strings);
                if (strings > 0)
                    bytes[^1] = 0;
                Try(bytes);
            }
        }
    }

    [Fact]
    public void Noise() =>
        Gen.Byte.Array[0, 400].Each(2000, noise =>
        {
            Try(noise);
            var bytes = BtfBuilder.Sample();
            noise.AsSpan(0, Math.Min(noise.Length, bytes.Length - 24)).CopyTo(bytes.AsSpan(24));
            Try(bytes);
        });
}
