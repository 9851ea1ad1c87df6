using System.Globalization;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Output;

/// <summary>Shows the globals a script wrote but never read when the session ends (language.md §4).</summary>
public static class GlobalDisplay
{
    /// <summary>Appends the lines of all globals with <see cref="Global.ShowAtEnd"/>.</summary>
    public static void Write(ByteSink sink, LoweredProgram program, IGlobalStore store)
    {
        foreach (var global in program.Globals)
        {
            if (!global.ShowAtEnd || global.IsTapset)
            {
                continue;
            }

            if (global.IsArray)
            {
                Array(sink, global, store);
            }
            else
            {
                sink.Append(global.Name);
                if (global.Type == ScriptType.Statistics)
                {
                    Statistics(sink, global.Shape!, store.Statistics(global, null));
                }
                else
                {
                    sink.Append((byte)'=');
                    Scalar(sink, store.Read(global), global.HoldsPointers);
                }

                sink.Append((byte)'\n');
            }
        }
    }

    private static void Array(ByteSink sink, Global array, IGlobalStore store)
    {
        var entries = store.Entries(array);
        var order = EntryOrder.Sorted(entries, SortDirection.Descending, 0, StatisticKind.Count, array.Type)!;
        foreach (var i in order)
        {
            var entry = entries[i];
            sink.Append(array.Name);
            sink.Append((byte)'[');
            for (var k = 0; k < entry.Key.Parts.Length; k++)
            {
                if (k > 0)
                {
                    sink.Append((byte)',');
                }

                Scalar(sink, entry.Key.Parts[k], false);
            }

            sink.Append((byte)']');
            if (array.Type == ScriptType.Statistics)
            {
                Statistics(sink, array.Shape!, entry.Statistics);
            }
            else
            {
                sink.Append((byte)'=');
                Scalar(sink, entry.Value, array.HoldsPointers);
            }

            sink.Append((byte)'\n');
        }
    }

    private static void Scalar(ByteSink sink, Value value, bool hex)
    {
        if (value.Text is { } text)
        {
            sink.Append((byte)'"');
            sink.Append(text);
            sink.Append((byte)'"');
        }
        else if (hex)
        {
            Hex(sink, value.Long);
        }
        else
        {
            Formatter.Decimal(sink, value.Long);
        }
    }

    private static void Hex(ByteSink sink, long value)
    {
        sink.Append("0x");
        sink.Append(value.ToString("x", CultureInfo.InvariantCulture));
    }

    private static void Statistics(ByteSink sink, StatisticShape shape, StatSnapshot? stat)
    {
        if (stat is null || stat.Count == 0)
        {
            // In hexadecimal, alone of all: so SystemTap's module prints it.
            sink.Append(" @count=0x0");
            return;
        }

        Part("count", stat.Count);

        if (shape.Min)
        {
            Part("min", stat.Min);
        }

        if (shape.Max)
        {
            Part("max", stat.Max);
        }

        if (shape.Sum)
        {
            Part("sum", stat.Sum);
            Part("avg", stat.Sum / stat.Count);
        }

        void Part(string name, long value)
        {
            sink.Append(" @");
            sink.Append(name);
            sink.Append((byte)'=');
            Formatter.Decimal(sink, value);
        }
    }
}
